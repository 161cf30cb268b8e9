"""What the benchmarks of denoising and of few views share: results, scans, tables, pictures."""

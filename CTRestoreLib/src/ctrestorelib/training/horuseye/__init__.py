"""HorusEye training: extractor, noise bank, denoiser, co-refinement (torch inside modules)."""

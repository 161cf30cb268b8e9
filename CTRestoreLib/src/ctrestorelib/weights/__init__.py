"""Released network weights: files, checksums and model cards (imports core)."""

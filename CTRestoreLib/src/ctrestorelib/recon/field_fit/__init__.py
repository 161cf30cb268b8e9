"""A field of many resolutions, fitted to one scan and nothing else (layer: recon)."""

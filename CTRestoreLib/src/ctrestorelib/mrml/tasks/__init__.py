"""What the three Apply buttons do: denoise, reconstruct, scan; one file each (layer: mrml)."""

"""The panels of the page, one file each, in the order of the desktop module (layer: apps)."""

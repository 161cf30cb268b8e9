"""The panels in a browser: one gateway, and one page process a person (layer: apps)."""

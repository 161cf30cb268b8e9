"""Tiled inference and runtimes."""

"""Scan geometry, projection sets and phantoms (imports core)."""

"""Measures with and without a reference (imports core and geometry)."""

"""Reading and writing volumes and projections (imports core and geometry)."""

"""Values that everything else is made of (imports numpy only)."""

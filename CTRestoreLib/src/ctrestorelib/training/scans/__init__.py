"""Virtual scans to train reconstructors on: subjects, acquisitions, a store (layer: training)."""

"""The page process of one person: scene, settings, panels and jobs in a browser (layer: apps)."""

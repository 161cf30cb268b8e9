"""Segmentation beside restoration: thresholds, comparison, surfaces, hand-over (layer: mrml)."""

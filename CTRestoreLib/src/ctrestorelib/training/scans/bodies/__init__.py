"""Whole bodies and objects that make sense in all three planes (layer: training)."""

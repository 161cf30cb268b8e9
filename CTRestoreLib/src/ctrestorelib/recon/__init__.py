"""Reconstruction algorithms over the operators of physics."""

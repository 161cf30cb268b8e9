"""Procedural anatomy: noise-free CT volumes of endless variety (layer: training)."""

from ctrestorelib.training.anatomy.make import KINDS, make_anatomy

__all__ = ["KINDS", "make_anatomy"]

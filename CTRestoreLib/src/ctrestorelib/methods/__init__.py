"""Restoration methods, one file each (layer: methods; methods do not import methods)."""

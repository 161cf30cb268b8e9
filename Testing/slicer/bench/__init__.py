"""A Qt test bench: the unmodified desktop module over PySide6, real MRML and real views.

Nothing here is part of the product. `README.md` in this folder says how to use it.
"""

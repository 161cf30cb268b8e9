"""The benchmark of the denoisers: every method on scans that none of them was trained on.

``python3 Scripts/dev.py bench denoise`` runs it; :mod:`denoise.run` says what it does.
"""

"""The benchmark of reconstruction from few views, on volumes that no network was trained on.

``python3 Scripts/dev.py bench sparse_view`` runs it; :mod:`sparse_view.run` says what it does.
"""

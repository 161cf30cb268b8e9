"""The ``ctrestore`` command (layer: apps)."""

from ctrestorelib.apps.cli.main import main as main

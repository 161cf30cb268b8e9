"""``python -m ctrestorelib.apps.cli``: ``ctrestore`` without its script (layer: apps)."""

from ctrestorelib.apps.cli.main import main

if __name__ == "__main__":
    main()

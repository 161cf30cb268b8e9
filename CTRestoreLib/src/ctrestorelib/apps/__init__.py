"""Front ends: command line, demo, reports."""

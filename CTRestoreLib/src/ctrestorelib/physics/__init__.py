"""X-ray operators, noise models and the virtual scan (torch optional)."""

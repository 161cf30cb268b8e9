"""Network architectures, and what they see of a volume (torch only inside modules)."""

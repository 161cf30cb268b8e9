"""Training: data, losses, one loop that resumes exactly."""

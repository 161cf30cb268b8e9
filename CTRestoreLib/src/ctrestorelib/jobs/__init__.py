"""Requests, the runner and the worker process."""

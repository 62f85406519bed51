"""Runs models that were exported to a file."""

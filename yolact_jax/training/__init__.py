"""Optimizer, training step and training loop."""

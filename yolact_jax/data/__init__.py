"""Datasets and input pipeline; imports no jax, so that loader workers start fast."""

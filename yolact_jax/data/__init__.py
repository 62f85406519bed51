"""Datasets and input pipeline; imports no jax, so loader workers start fast."""

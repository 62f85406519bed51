"""Examines a dataset before training: `python -m yolact_jax.tools.doctor`."""

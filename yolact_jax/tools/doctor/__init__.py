"""Examines a dataset before training; the command is `yolact-jax doctor`."""

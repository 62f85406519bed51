"""Examines a COCO-format dataset before training: `python -m yolact_jax.doctor`."""

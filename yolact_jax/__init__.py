"""YOLACT and YOLACT++ instance segmentation in JAX.

Deliberately imports nothing: data-loading workers import this package and must
start fast without touching an accelerator.
"""

__version__ = "0.1.0"

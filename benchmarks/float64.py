"""Runs a piece of a benchmark in a process that computes in float64."""

import os
import subprocess
import sys
from pathlib import Path

# The layers name their type or are told it; with another type behind the name before
# they are imported, all of the package computes in it.  Draws stay the same.
_CODE = """
import functools, importlib, sys
import jax
jax.numpy.float32 = jax.numpy.float64
jax.random.uniform = functools.partial(jax.random.uniform, dtype="float32")
from yolact_jax import build
build.compute_dtype = lambda *_: "float64"
module, function, *words = sys.argv[1:]
getattr(importlib.import_module(module), function)(words)
"""


def call(module: str, function: str, *words: object) -> None:
    """Calls a function of a module with a list of words, in a process of its own.

    Raises:
      subprocess.CalledProcessError: if it fails.
    """
    subprocess.run(
        [sys.executable, "-c", _CODE, module, function, *map(str, words)],
        check=True,
        cwd=Path(__file__).parent.parent,
        env=os.environ | {"JAX_ENABLE_X64": "1"},
    )

"""Compiled programs are kept between runs."""

import os
from pathlib import Path

import jax


def keep_compiled_programs() -> None:
    """Turns JAX's persistent compilation cache on, unless it is set up already.

    The folder is ``yolact_jax/xla`` in the user's cache folder, ``$XDG_CACHE_HOME`` or
    ``~/.cache``.  JAX's own settings win: ``JAX_COMPILATION_CACHE_DIR`` names another
    folder, ``JAX_ENABLE_COMPILATION_CACHE=false`` turns it off.
    """
    if jax.config.jax_compilation_cache_dir is None:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(root) / "yolact_jax" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))

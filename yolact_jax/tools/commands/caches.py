"""Where commands keep programs for those that start later."""

import os
from pathlib import Path
from typing import Any

import jax

from yolact_jax.inference import traced


def keep_compiled_programs() -> None:
    """Turns on JAX's persistent compilation cache, and that of traces.

    The folder is ``yolact_jax/xla`` in the user's cache folder, ``$XDG_CACHE_HOME`` or
    ``~/.cache``; without a home there is no cache.  JAX's own settings win:
    ``JAX_COMPILATION_CACHE_DIR`` names another folder,
    ``JAX_ENABLE_COMPILATION_CACHE=false`` turns the cache off.  Traces are in its
    folder ``traces``, if it is on this machine.
    """
    config: Any = jax.config  # It gets its attributes at run time.
    chosen: str | None = config.jax_compilation_cache_dir
    if chosen is None:
        try:
            root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        except RuntimeError:
            return
        chosen = str(Path(root) / "yolact_jax" / "xla")
        jax.config.update("jax_compilation_cache_dir", chosen)
    # JAX takes an empty name for no cache.
    if chosen and config.jax_enable_compilation_cache and "://" not in chosen:
        traced.keep_in(Path(chosen) / "traces")

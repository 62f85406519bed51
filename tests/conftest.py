"""Global strictness: silent broadcasting fails; four virtual devices for all tests."""

import os
import pathlib

from tests import quick_compile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4 "
    f"{quick_compile.XLA_FLAGS}"
)

import jax
from absl import flags

_CACHE = pathlib.Path(__file__).parent.parent / ".jax_cache"

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)

# grain's workers read absl flags, which pytest never parses.
flags.FLAGS.mark_as_parsed()

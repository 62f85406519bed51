"""Global strictness: silent broadcasting fails; four virtual devices for all tests."""

import os
import pathlib

from tests.helpers import quick_compile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4 "
    f"{quick_compile.XLA_FLAGS}"
)

import hypothesis
import jax
import pytest
from absl import flags

from yolact_jax.inference import traced

pytest_plugins = [
    "tests.helpers.coco_folder",
    "tests.helpers.label_folders",
    "tests.helpers.tiffs",
]

_CACHE = pathlib.Path(__file__).parent.parent / ".jax_cache"

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

# A busy machine makes any example slow.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# grain's workers read absl flags, which pytest never parses.
flags.FLAGS.mark_as_parsed()

# Each holds what its tests have compiled: 3 GB at the end of a run.
_MOST_WORKERS = 4


@pytest.fixture(autouse=True)
def no_kept_traces(monkeypatch):
    """A command keeps traces for the process; tests that replace code need others."""
    monkeypatch.setattr(traced, "keep_in", lambda folder: None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Divides the whole suite; a few chosen files are quicker in this process."""
    if config.args_source != config.ArgsSource.TESTPATHS:
        return 0
    return min(os.cpu_count() or 1, _MOST_WORKERS)

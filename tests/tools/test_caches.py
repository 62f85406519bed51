"""Compiled programs are kept by default, where JAX's own settings say nothing."""

import jax
import pytest

from yolact_jax.inference import traced
from yolact_jax.tools.commands.caches import keep_compiled_programs


@pytest.fixture
def no_kept_traces():
    """Here they are kept."""


@pytest.fixture
def setting():
    before = jax.config.jax_compilation_cache_dir
    yield lambda folder: jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_compilation_cache_dir", before)
    traced.keep_in(None)


def test_default_is_a_folder_of_the_user(setting, monkeypatch, tmp_path):
    setting(None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "yolact_jax" / "xla")
    assert traced._folder == tmp_path / "yolact_jax" / "xla" / "traces"


def test_own_choice_of_folder_stays(setting, tmp_path):
    setting(str(tmp_path))
    keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path)
    assert traced._folder == tmp_path / "traces"


@pytest.mark.parametrize("folder", ["gs://bucket/cache", ""])
def test_traces_are_kept_on_this_machine_only_and_not_if_nothing_is(folder, setting):
    setting(folder)
    keep_compiled_programs()
    assert traced._folder is None


def test_a_cache_that_is_off_keeps_no_traces(setting, tmp_path):
    setting(str(tmp_path))
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        keep_compiled_programs()
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert traced._folder is None

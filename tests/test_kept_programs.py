"""Compiled programs are kept by default, where JAX's own settings say nothing."""

import jax
import pytest

from yolact_jax.cli import keep_compiled_programs


@pytest.fixture
def setting():
    before = jax.config.jax_compilation_cache_dir
    yield lambda folder: jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_compilation_cache_dir", before)


def test_default_is_a_folder_of_the_user(setting, monkeypatch, tmp_path):
    setting(None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "yolact_jax" / "xla")


def test_own_choice_of_folder_stays(setting, tmp_path):
    setting(str(tmp_path))
    keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path)

"""Failures to write say what to do."""

import errno

import pytest

from yolact_jax.run.disk_errors import cause_of, explaining_full_disk


def test_full_disk_is_explained(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    message = r"nothing more can be written to .* \(No space left"
    with pytest.raises(OSError, match=message), explaining_full_disk("x"):
        raise full
    with pytest.raises(FileNotFoundError), explaining_full_disk("x"):
        raise FileNotFoundError(errno.ENOENT, "other")


def test_cause_is_short():
    wrapped = ValueError("RESOURCE_EXHAUSTED: x: No space left on device [28]\nmore")
    assert cause_of(wrapped) == "No space left on device"
    assert cause_of(ValueError("first\nsecond")) == "first"
    assert cause_of(ValueError()) == "ValueError"

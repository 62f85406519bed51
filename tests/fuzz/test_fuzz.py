"""No input, however damaged or hostile, ends in a traceback or takes the memory."""

import pytest

from tests.fuzz.harness import run_target
from tests.fuzz.targets import TARGETS

SLOW = "state of a training"  # An input takes a tenth of a second.
# Each is accepted so often at least, and refused so often: both ways are tried.
LEAST = 1 / 20


def check(name, count, seed):
    found = run_target(name, count, seed)
    assert not found["told"], "\n".join(found["told"])
    assert found["accepted"] + found["refused"] == count
    assert min(found["accepted"], found["refused"]) >= count * LEAST


@pytest.mark.parametrize("name", ["annotations", "files of a run"])
def test_no_input_is_a_fault(name):
    check(name, count=100, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_of_many_inputs_none_is_a_fault(name):
    check(name, count=100 if name == SLOW else 600, seed=1)

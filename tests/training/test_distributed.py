"""What is missing on the command line of a run of many processes is named."""

import pytest

from yolact_jax.training import distributed


def test_a_run_of_one_process_needs_no_arguments():
    distributed.initialize()
    assert distributed.is_first_process()
    assert distributed.on_first_process(lambda x, y: x - y, 5, y=2) == 3
    assert distributed.first_process_first(lambda: "data") == "data"
    assert distributed.largest_of_all(3) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coordinator_address": "a:1"}, "--num_processes is missing"),
        ({"num_processes": 2, "process_id": 0}, "--coordinator_address is missing"),
        ({"auto": True, "process_id": 0}, "--coordinator_address is missing"),
        (
            {"coordinator_address": "a:1", "num_processes": 2, "process_id": 2},
            r"--process_id is 2; .* must be in 0\.\.1",
        ),
    ],
)
def test_incomplete_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        distributed.initialize(**arguments)

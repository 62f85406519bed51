"""What processes say to each other, and what they do when one of them fails."""

import itertools
import json
import os
import signal

import jax
import numpy as np
import pytest

from tests.helpers.processes import run_processes
from yolact_jax.training.interruption import Interruption
from yolact_jax.training.multihost import exchange, processes


def test_a_run_of_one_process_needs_no_arguments():
    processes.initialize()
    assert processes.is_first_process()
    assert processes.acts_alone()
    assert processes.on_first_process(lambda x, y: x - y, 5, y=2) == 3
    assert processes.on_all_processes(lambda x, y: x - y, 5, y=2) == 3
    assert processes.first_process_first(lambda: "data") == "data"
    assert processes.largest_of_all(3) == 3
    assert exchange.gather("a", "run") == ["a"]
    assert exchange.value_of_first_process("a", "run") == "a"
    assert list(processes.share_of(3)) == [0, 1, 2]


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
        processes.initialize(**arguments)


@pytest.mark.parametrize("num_processes", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_every_image_is_in_one_share(count, num_processes, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: num_processes)
    shares = []
    for index in range(num_processes):
        monkeypatch.setattr(jax, "process_index", lambda i=index: i)
        shares.append(list(processes.share_of(count)))
    assert sorted(itertools.chain(*shares)) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def fail_in(index: int, error: Exception):
    """Returns a function that fails in one process."""

    def work():
        if jax.process_index() == index:
            raise error

    return work


def outcome(function, *args) -> str:
    try:
        return repr(function(*args))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def stop_the_second() -> str:
    """Sends SIGTERM to process 1 while it waits and while it works; says what ends."""
    ends = []

    def work():
        if jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with Interruption() as interruption:
        try:
            with interruption.at_once(4, may_raise=processes.acts_alone):
                processes.on_all_processes(work)
        except Exception as error:
            ends.append(f"{type(error).__name__} {error.exit_status}")
        interruption.signal = None
        with interruption.at_once(4, may_raise=processes.acts_alone):
            work()
            ends.append(interruption.signal and interruption.signal.name)
            total = processes.largest_of_all(jax.process_index())
    return f"{ends} {total}"


def talk(folder) -> None:
    """In every process; what it learns goes to ``learned_<index>.json``."""
    index = jax.process_index()
    run = folder / "run"
    values = np.arange(5 + 20 * index) / 3
    mine = {"index": index, "values": values.tolist()}
    learned = {
        "largest": processes.largest_of_all(index + 4),
        "gathered": repr(exchange.gather(mine, run)),
        "first": exchange.value_of_first_process([index, None, 0.1], run),
        "alone": [
            processes.acts_alone(),
            processes.on_all_processes(processes.acts_alone),
        ],
        "disk": outcome(processes.on_first_process, fail_in(0, OSError("full"))),
        "bad": outcome(processes.on_all_processes, fail_in(1, ValueError("record"))),
        "data": outcome(processes.first_process_first, fail_in(1, OSError("gone"))),
        "long": outcome(processes.on_all_processes, fail_in(1, OSError("é" * 9999))),
        "not_json": outcome(exchange.gather, np.int32(1) if index else 1, run),
        "stopped": stop_the_second(),
        "afterwards": processes.on_all_processes(lambda: "works"),
    }
    (folder / f"learned_{index}.json").write_text(json.dumps(learned))


def test_processes_learn_from_each_other_and_none_waits_for_one_that_failed(tmp_path):
    # As left by a run that was killed.
    left = tmp_path / "run" / ".exchange" / "00c0ffee" / "1.json"
    left.parent.mkdir(parents=True)
    left.write_text('{"index": 7, "val')
    run_processes("talk", tmp_path, timeout_seconds=120)
    assert not left.exists()
    first, second = (
        json.loads((tmp_path / f"learned_{index}.json").read_text())
        for index in range(2)
    )
    shares = [
        {"index": 0, "values": (np.arange(5) / 3).tolist()},
        {"index": 1, "values": (np.arange(25) / 3).tolist()},
    ]
    assert first.pop("gathered") == repr(shares)
    assert second.pop("gathered") == "None"
    told = first.pop("long").removeprefix("OtherProcessError: Process 1 has failed: ")
    whole = second.pop("long")
    assert len(told) > 2000
    assert whole == f"OSError: {'é' * 9999}"
    assert whole.startswith(told)
    same = {"largest": 5, "first": [0, None, 0.1], "alone": [False, True]}
    not_json = "Object of type int32 is not JSON serializable"
    assert first == same | {
        "disk": "OSError: full",
        "bad": "OtherProcessError: Process 1 has failed: ValueError: record",
        "data": "OtherProcessError: Process 1 has failed: OSError: gone",
        "not_json": "OtherProcessError: Process 1 has failed: TypeError: " + not_json,
        "stopped": "['OtherProcessError 143', None] 1",
        "afterwards": "works",
    }
    assert second == same | {
        "disk": "OtherProcessError: Process 0 has failed: OSError: full",
        "bad": "ValueError: record",
        "data": "OSError: gone",
        "not_json": f"TypeError: {not_json}",
        "stopped": "['Interrupted 143', 'SIGTERM'] 1",
        "afterwards": "works",
    }

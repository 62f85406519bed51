"""The first signal is noted, the second ends the process."""

import signal
import subprocess
import sys
import threading

import pytest

from yolact_jax.training.interruption import Interrupted, Interruption

TWO_SIGNALS = """
import os, signal
from yolact_jax.training.interruption import Interruption
with Interruption() as interruption:
    os.kill(os.getpid(), signal.{first})
    print(interruption.signal.name, flush=True)
    os.kill(os.getpid(), signal.{second})
    print("still here", flush=True)
"""


@pytest.mark.parametrize(
    ("first", "second"), [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGTERM")]
)
def test_second_signal_ends_the_process_at_once(first, second):
    result = subprocess.run(
        [sys.executable, "-c", TWO_SIGNALS.format(first=first, second=second)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == f"{first}\n"
    assert result.returncode == -signal.Signals[second]
    assert f"{first}: finishing the running step and saving" in result.stderr


def test_without_a_signal_nothing_happens():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        assert signal.getsignal(signal.SIGTERM) != before
        interruption.raise_if_noted(3)
        with interruption.at_once(3):
            pass
    assert signal.getsignal(signal.SIGTERM) == before


def test_signal_before_work_that_can_wait_keeps_it_from_starting():
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted, match="stopped by SIGTERM after step 3"):
            interruption.at_once(3).__enter__()


def test_signal_at_a_bad_moment_is_only_noted():
    with Interruption() as interruption:
        with interruption.at_once(3, may_raise=lambda: False):
            signal.raise_signal(signal.SIGTERM)
        with interruption.at_once(3, may_raise=lambda: False):
            pass
        assert interruption.signal == signal.SIGTERM
        with pytest.raises(Interrupted, match="stopped by SIGTERM after step 4"):
            interruption.at_once(4).__enter__()


def test_other_threads_leave_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def run():
        with Interruption():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]

import threading
import time

import pytest

from yolact_jax.results.video.stages import run_side_by_side


def doubled(items):
    return (2 * item for item in items)


def test_results_come_in_order():
    work = ("double", doubled), ("again", doubled)
    with run_side_by_side(range(100), "count", *work) as stages:
        assert list(stages) == [4 * n for n in range(100)]
        assert set(stages.seconds) == {"count", "double", "again"}


def sleeping(seconds):
    def step(items):
        for item in items:
            time.sleep(seconds)
            yield item

    return step


def test_steps_work_at_the_same_time_and_their_times_are_their_own():
    """Sleeping leaves the processor free, so this holds on one core too."""
    steps = [(f"step {n}", sleeping(0.02)) for n in range(3)]
    start = time.perf_counter()
    with run_side_by_side(range(20), "count", *steps) as stages:
        assert list(stages) == list(range(20))
        seconds = stages.seconds
    took = time.perf_counter() - start
    assert took < 0.75 * 3 * 20 * 0.02
    assert seconds["count"] < 0.2
    for name, _ in steps:
        assert 0.4 <= seconds[name] < 0.75


def test_queues_are_bounded():
    made = []

    def items():
        for number in range(1000):
            made.append(number)
            yield number

    with run_side_by_side(items(), "count", ("double", doubled), room=2) as stages:
        first = next(iter(stages))
        time.sleep(0.2)
        assert first == 0
        # Two queues of 2, and one item in the hands of each step.
        assert len(made) <= 8


def test_a_source_that_cannot_wait_loses_the_oldest():
    with run_side_by_side(
        range(100), "count", ("slow", sleeping(0.01)), room=2, drop=True
    ) as stages:
        found = list(stages)
        assert found == sorted(found)
        assert found[-1] == 99
        assert len(found) + stages.dropped == 100
        assert stages.dropped > 50


@pytest.mark.parametrize("place", ["first", "middle"])
def test_an_error_comes_after_what_came_before_it(place):
    def failing(items):
        for item in items:
            if item == 5:
                raise ValueError("broken")
            yield item

    items = failing(range(10)) if place == "first" else range(10)
    steps = [("fail", failing)] if place == "middle" else []
    found = []
    with (
        run_side_by_side(items, "count", *steps, ("double", doubled)) as stages,
        pytest.raises(ValueError, match="broken"),
    ):
        found.extend(iter(stages))
    assert found == [0, 2, 4, 6, 8]


def test_all_threads_end_and_sources_are_closed_when_the_caller_fails():
    before, closed = threading.active_count(), []

    def items():
        try:
            yield from range(10**9)
        finally:
            closed.append(True)

    def fail_at_third():
        with run_side_by_side(items(), "count", ("double", doubled)) as stages:
            for item in stages:
                if item == 4:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_at_third()
    assert threading.active_count() == before
    assert closed == [True]

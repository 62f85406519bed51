"""Epochs, default lengths, batch sizes and patience, and what contradicts itself."""

import pytest

from tests.helpers.runs import tiny_config
from yolact_jax.build import freezes_bn
from yolact_jax.config import Config
from yolact_jax.run.best import Evaluations
from yolact_jax.training import length, memory, parts
from yolact_jax.training.loop import train
from yolact_jax.training.monitor import progress
from yolact_jax.zoo.specs import spec

OPEN = {
    "train.num_steps": 0,
    "optimizer.decay_steps": (),
    "optimizer.decay_fractions": (0.5, 0.75),
}


def resolved(tmp_path, changes, num_images=100):
    config = Config().replace({**OPEN, **changes})
    return length.resolve(config, num_images, 3, tmp_path)


@pytest.mark.parametrize(
    ("epochs", "batch", "scale", "steps"),
    # 100 images, 40 times: 4000 images.
    [(40.0, 8, True, 500), (40.0, 16, True, 500), (40.0, 16, False, 250)],
)
def test_epochs_are_steps_that_see_each_image_so_often(
    tmp_path, epochs, batch, scale, steps
):
    found = resolved(
        tmp_path,
        {
            "train.epochs": epochs,
            "train.batch_size": batch,
            "optimizer.scale_with_batch": scale,
        },
    )
    assert found.train.num_steps == steps
    assert found.optimizer.decay_steps == (round(steps / 2), round(steps * 3 / 4))
    # What a run records is resolved, and stays so.
    assert length.resolve(found, 7, 3, tmp_path) == found


@pytest.mark.parametrize(
    ("num_images", "steps"),
    [(8, 2000), (400, 5000), (1600, 20_000), (10_000, 20_000), (80_000, 120_000)],
)
def test_the_default_length_follows_the_number_of_images(
    tmp_path, num_images, steps, caplog
):
    caplog.set_level("INFO")
    found = resolved(tmp_path, {}, num_images)
    assert found.train.num_steps == steps
    assert f"{num_images} images, each seen" in caplog.text
    assert f"chosen from their number: {steps} steps of 8 images" in caplog.text


def test_a_config_with_a_length_stays_as_it_is(tmp_path):
    assert length.resolve(Config(), 100, 3, tmp_path) == Config()


@pytest.mark.parametrize(
    ("changes", "num_images", "before", "warmup"),
    [
        # 13 steps of 8 images; the rate falls after half of them.
        ({"train.epochs": 1.0}, 100, 6, 2),
        # 2000 steps of 8 images are 250 of 64.
        ({"train.batch_size": 64}, 100, 125, 41),
        ({}, 100, 1000, 333),
        ({}, 400, 2500, 500),
        ({"optimizer.schedule": "cosine"}, 100, 2000, 500),
        ({"optimizer.schedule": "cosine", "train.epochs": 40.0}, 100, 500, 166),
    ],
)
def test_the_warmup_of_a_run_in_epochs_ends_in_time(
    tmp_path, changes, num_images, before, warmup
):
    found = resolved(tmp_path, changes, num_images)
    assert found.optimizer.warmup_steps == warmup
    assert length.resolve(found, num_images, 3, tmp_path) == found
    schedule, _ = parts.schedule_of(found)
    rates = [float(schedule(step)) for step in range(before)]
    assert max(rates) == pytest.approx(1e-3 * found.train.batch_size / 8)


@pytest.mark.parametrize(("name", "warmup"), [("custom", 200), ("modern", 500)])
def test_the_warmup_of_a_config_at_its_own_length_stays(tmp_path, name, warmup):
    found = length.resolve(spec(name), 8, 3, tmp_path)
    assert found.optimizer.warmup_steps == warmup


def test_a_warmup_longer_than_a_given_length_is_told(tmp_path, caplog):
    config = Config().replace({"train.num_steps": 500})
    assert length.resolve(config, 100, 3, tmp_path) == config
    assert "the warm-up has 500 steps, and the run decays or ends after 500" in (
        caplog.text
    )
    caplog.clear()
    config = config.replace({"train.num_steps": 501})
    assert length.resolve(config, 100, 3, tmp_path) == config
    assert not caplog.records


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"train.num_steps": 7, "train.batch_size": 64},
            "num_steps is 7, .* config.train.batch_size 64; it must be at least 8",
        ),
        ({"train.num_steps": 8, "train.batch_size": 64}, ""),
        # Without a gain after the first of them, four evaluations end a run.
        (
            {"train.num_steps": 400, "train.patience": 3},
            "patience is 3 with config.train.eval_every_steps 100, .* after 400 steps "
            ".* than the 400 of the run",
        ),
        ({"train.num_steps": 401, "train.patience": 3}, ""),
        (
            {"train.num_steps": 401, "train.patience": 3, "train.batch_size": 16},
            "than the 200 of the run",
        ),
    ],
)
def test_lengths_that_do_nothing_are_refused(changes, words):
    config = Config().replace({"train.eval_every_steps": 100, **changes})
    if not words:
        return length.check(config)
    with pytest.raises(ValueError, match=words):
        length.check(config)


@pytest.mark.parametrize(("newest", "refused"), [(200, False), (201, True)])
def test_a_run_reaches_its_newest_checkpoint(newest, refused, tmp_path):
    # Twice the batch of 8 that the steps are meant for.
    config = Config().replace({"train.num_steps": 401, "train.batch_size": 16})
    if not refused:
        return length.check_reaches(config, newest, tmp_path)
    words = "after 200 steps .*num_steps is 401, .*batch_size 16.* of step 201;"
    with pytest.raises(ValueError, match=words):
        length.check_reaches(config, newest, tmp_path)


def test_a_run_that_patience_cannot_end_does_not_start(tmp_path):
    changes = {"train.eval_every_steps": 1, "train.patience": 3}
    with pytest.raises(ValueError, match="fewer than the 4 of the run"):
        train(tiny_config(tmp_path).replace(changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.epochs": 3.0}, "epochs is 3 and config.train.num_steps 800000"),
        ({"optimizer.decay_fractions": (0.5,)}, "one must be"),
        ({"train.patience": 3}, "patience is 3; it must be 0 without evaluations"),
        ({"data.negatives": "some"}, "negatives is 'some'; it must be 'drop', 'keep'"),
        ({"data.negatives": "1.5"}, "negatives is '1.5'"),
        ({"data.negatives": "nan"}, "negatives is 'nan'"),
        (
            {"loss.empty_negatives": 4, "train.accumulate_steps": 2},
            "empty_negatives is 4; it must be 0 with",
        ),
    ],
)
def test_contradictions_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Config().replace(changes)


def memory_of(monkeypatch, fixed, per_image, device):
    """Pretends what the compiler says, for devices that share a batch of 4."""
    monkeypatch.setattr(
        memory,
        "step_bytes",
        lambda config, num_classes, size, layout: fixed + per_image * size // 4,
    )
    monkeypatch.setattr(memory, "device_bytes", lambda: device)


@pytest.mark.parametrize(
    ("device", "batch"), [(1900, 4), (5000, 32), (4900, 16), (10**9, 64), (10, 4)]
)
def test_the_batch_fills_the_memory_but_not_all(monkeypatch, device, batch):
    # 8 images on each of 4 devices need 800 + 8 * 400 = 4000 = 0.8 * 5000.
    memory_of(monkeypatch, 800, 400, device)
    assert memory.largest_batch(Config(), 3) == batch


@pytest.mark.parametrize(
    ("device", "batch"),
    # Of 0.8 times that, an image that trains batch normalization needs 400 on each of 4
    # devices, others 100; batches below 6 train none.
    [(5000, 32), (3000, 16), (2000, 8), (1900, 4), (1200, 4), (10, 4)],
)
def test_the_batch_is_measured_with_the_normalization_it_trains(
    monkeypatch, device, batch
):
    def step_bytes(config, num_classes, size, layout):
        return 800 + (100 if freezes_bn(config) else 400) * size // 4

    monkeypatch.setattr(memory, "step_bytes", step_bytes)
    monkeypatch.setattr(memory, "device_bytes", lambda: device)
    config = Config().replace({"train.batch_size": 0, "train.init_weights": "a.pth"})
    assert memory.largest_batch(config, 3) == batch


@pytest.mark.slow
def test_the_compiler_is_asked_for_the_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_LARGEST_BATCH", 8)
    config = tiny_config(tmp_path).replace({"train.batch_size": 0})
    found = length.resolve(config, 12, 3, tmp_path)
    assert found.train.batch_size == 8


def test_patience_counts_evaluations_after_the_best(tmp_path):
    evaluations = Evaluations(tmp_path)
    waited = []
    for step, ap in enumerate([None, 0.0, 0.0, 0.2, 0.1, 0.3, 0.3, 0.25], start=1):
        evaluations.record(step, ap)
        waited.append(evaluations.without_gain())
    assert waited == [0, 0, 0, 0, 1, 0, 1, 2]


def test_a_slow_run_says_within_a_minute_how_long_it_takes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    measured = progress.Progress(1000, 8)
    assert measured.first_estimate(1) is None
    measured.restart(1)
    lines = []
    for step in range(2, 20):
        now[0] += 4.0
        lines.append(measured.first_estimate(step))
    said = [line for line in lines if line]
    # 8 steps in 32 s, so 991 steps in 3964 s.
    assert said == ["step 9/1000  ETA 1:06:04"]

import dataclasses

import pytest

from benchmarks import divergence, recipe_nuclei
from yolact_jax.config import Config


def course(mask_losses):
    """Metrics of a run with these mask losses."""
    other = dict.fromkeys(["train/box", "train/class", "train/semantic"], 1.0)
    return [
        {**other, "train/mask": mask, "train/loss": mask + 3, "train/skipped": 0.0}
        for mask in mask_losses
    ]


@pytest.mark.parametrize(
    ("masks", "diverged", "spikes"),
    [
        ([60.0, 900.0] + [20.0] * 48, 0, 0),  # The first steps are always high.
        ([20.0] * 20 + [2500.0, 300.0] + [20.0] * 28, 0, 1),
        ([20.0] * 10 + [250.0] + [20.0] * 9 + [250.0] + [20.0] * 29, 0, 2),
        ([20.0] * 20 + [900.0] * 30, 1, 0),
        ([20.0] * 10 + [250.0] + [20.0] * 9 + [900.0] * 30, 1, 1),
        ([20.0] * 40 + [float("nan")] * 10, 1, 0),
        ([20.0] * 40, 1, 0),  # Ended early.
    ],
)
def test_course_of_a_run_is_judged(masks, diverged, spikes):
    found = divergence.judge(course(masks), num_steps=50)
    assert (found["diverged"], found["spikes"]) == (diverged, spikes)


def test_losses_are_smoothed_over_the_last_hundred_steps():
    found = divergence.judge(course([1000.0] * 50 + [10.0] * 50 + [30.0] * 50), 150)
    assert (found["mask"], found["loss"], found["box"]) == (20.0, 23.0, 1.0)
    assert (found["worst_mask"], found["worst_step"]) == (1000.0, 5)


def test_rows_in_the_file_are_not_run_again(tmp_path):
    file = tmp_path / "rows.csv"
    assert divergence.done(file) == set()
    divergence.append(
        file, {"variant": "a", "seed": "3", "num_steps": "150", "spikes": 1}
    )
    divergence.append(
        file, {"variant": "b", "seed": "3", "num_steps": "150", "spikes": 0}
    )
    assert divergence.done(file) == {("a", "3", "150"), ("b", "3", "150")}


@pytest.mark.parametrize("name", divergence.VARIANTS)
def test_every_variant_changes_one_field_of_the_recipe(name, tmp_path):
    recipe = recipe_nuclei.make_config(tmp_path, tmp_path, seed=0)
    changed = recipe.replace(divergence.VARIANTS[name]).flat()
    differs = [
        field for field, value in recipe.flat().items() if changed[field] != value
    ]
    assert len(differs) == (name != "as published")


def test_recipe_keeps_what_the_record_says(tmp_path):
    config = recipe_nuclei.make_config(tmp_path, tmp_path, seed=7)
    published = Config()
    assert config.augment == published.augment
    assert config.loss == published.loss
    assert config.optimizer == dataclasses.replace(
        published.optimizer, warmup_steps=50, decay_steps=(250,)
    )
    assert (config.train.batch_size, config.train.seed) == (8, 7)

"""The configs that the recipe benchmark compares, and how it goes on."""

import contextlib
import csv
import dataclasses
import types

import jax.numpy as jnp
import pytest

from benchmarks import recipe
from benchmarks.divergence import append
from tests.helpers.runs import tiny_config
from yolact_jax.config import Config
from yolact_jax.training.step import TrainState


@pytest.mark.parametrize(
    "data",
    [[], ["--resnet50"], ["--data=nuclei"]],
    ids=["shapes", "shapes, ResNet-50", "nuclei"],
)
@pytest.mark.parametrize("variant", recipe.VARIANTS)
def test_variant_changes_its_fields_alone_and_fits_the_length(data, variant):
    options = recipe.parse([*data, "--steps=500"])
    if variant not in options.variants:
        assert not data
        with pytest.raises(SystemExit):
            recipe.parse([*data, f"--variants={variant}"])
        return
    faithful = recipe.make_config(options, "faithful", 3).flat()
    changed = recipe.make_config(options, variant, 3).flat()
    fields = {name for name in changed if changed[name] != faithful[name]}
    assert fields == set(recipe.VARIANTS[variant])
    assert changed["train.num_steps"] == 500
    assert changed["train.seed"] == 3
    assert max(faithful["optimizer.decay_steps"]) < 500


def test_rows_are_not_run_again_and_are_summarized(tmp_path, monkeypatch, capsys):
    ran = []

    def run(config, detections, *, timed):
        ran.append(config.train.seed)
        if len(ran) == 2:
            raise KeyboardInterrupt
        measures = dict.fromkeys(("ap50", "ap_small", "images_per_s"), 1.0)
        measures |= {"inference_ms": 2.0 if timed else "", "seconds": 3.0}
        own = {"ap": 10.0 + 2 * config.train.seed, **measures}
        other = {"ap": 5.0, **measures, "inference_ms": ""}
        return [("", own), *((name, other) for name in detections)]

    monkeypatch.setattr(recipe, "run", run)
    monkeypatch.setattr(recipe, "start_logging", lambda: None)
    options = [f"--results={tmp_path}", "--variants=faithful", "--steps=9"]
    for seeds in ("0", "0,1", "0,1,2"):
        arguments = recipe.parse([*options, f"--seeds={seeds}"])
        monkeypatch.setattr(recipe, "parse", lambda found=arguments: found)
        with contextlib.suppress(KeyboardInterrupt):
            recipe.main()
        monkeypatch.undo()
        monkeypatch.setattr(recipe, "run", run)
        monkeypatch.setattr(recipe, "start_logging", lambda: None)
    assert ran == [0, 1, 1, 2]
    # Its own row is what a run counts as done by, and so comes last.
    (file,) = tmp_path.iterdir()
    with file.open() as stream:
        names = [row["variant"] for row in csv.DictReader(stream)]
    assert names == [*reversed(recipe.DETECTIONS), "faithful"] * 3
    printed = capsys.readouterr().out
    assert "faithful, 9 steps, 3 seeds: ap 12.00 ± 2.00" in printed
    *_, line = (x for x in printed.splitlines() if x.startswith("cluster_diou,"))
    assert "3 seeds: ap 5.00 ± 0.00" in line
    assert "inference_ms" not in line


def test_averaged_weights_are_measured_beside_the_last(monkeypatch):
    weights = {"params": {}, "batch_stats": {}, "opt_state": ()}
    state = TrainState(jnp.int32(1), **weights, average={"params": {"w": 1}})

    def evaluate(config, dataset, state):
        return {"ap": 7.0 if "w" in state.inference_variables["params"] else 3.0}

    session = types.SimpleNamespace(dataset=None)
    monkeypatch.setattr(recipe, "make_session", lambda *_: session)
    monkeypatch.setattr(recipe, "evaluate", evaluate)
    for kept, expected in ((state, {"": 7.0, "last weights": 3.0}), (None, {"": 3.0})):
        found = kept or dataclasses.replace(state, average=None)
        monkeypatch.setattr(recipe, "train", lambda _, found=found: (found, 1.0))
        rows = recipe.run(Config(), {}, timed=False)
        assert {name: row["ap"] for name, row in rows} == expected


def test_unknown_variant_is_refused(capsys):
    with pytest.raises(SystemExit):
        recipe.parse(["--variants=faithful;zzz"])
    assert "there is no variant 'zzz', only faithful; ciou" in capsys.readouterr().err


def test_row_of_a_run_has_its_key(tmp_path):
    file = tmp_path / "rows.csv"
    append(file, {"variant": "ciou", "seed": "1", "steps": "9", "ap": 1.0})
    assert recipe.done(file) == {("ciou", "1", "9")}
    assert next(csv.reader(file.open()))[:3] == ["variant", "seed", "steps"]


@pytest.mark.slow
def test_a_run_trains_and_is_measured(tmp_path):
    config = tiny_config(tmp_path).replace({"train.num_steps": 2})
    detections = {"weighted": {"eval.weighted_boxes": True}}
    rows = dict(recipe.run(config, detections))
    for row in rows.values():
        assert 0 <= row["ap"] <= row["ap50"] <= 100
    assert rows[""]["inference_ms"] > 0
    assert rows["weighted"]["inference_ms"] == ""
    times = list(rows["weighted"])
    assert list(next(iter(recipe.run(config, {}, timed=False)))[1]) == times

"""Evaluation on several devices and processes equals that on one device."""

import json
import math

import jax
import numpy as np
import pytest

from tests.helpers.processes import run_processes
from tests.helpers.runs import rows, tiny_config
from yolact_jax import build
from yolact_jax.data.records.dataset import coco_ground_truth
from yolact_jax.results.coco_ap import collect_results, evaluate_coco
from yolact_jax.training import evaluate as evaluate_lib
from yolact_jax.training import parts
from yolact_jax.training.multihost import processes

pytestmark = pytest.mark.long

NUM_IMAGES = 7


def config_in(folder):
    return tiny_config(folder).replace(
        {
            "data.shapes_validation_images": NUM_IMAGES,
            "eval.batch_size": 1,
            "eval.sample_images": 1,
        }
    )


def make_state(config, dataset):
    num_classes = len(dataset.class_names)
    return jax.jit(parts.initial_state_fn(config, num_classes))(jax.random.key(3))


def evaluate(folder) -> dict:
    """In every process, on all devices; results go to the folder."""
    config = config_in(folder)
    dataset = processes.first_process_first(lambda: build.make_dataset(config))
    state = make_state(config, dataset)
    return evaluate_lib.evaluate_and_report(config, dataset, state, folder)


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory):
    """Row and entries of a plain loop over the images."""
    folder = tmp_path_factory.mktemp("one_device")
    config = config_in(folder)
    dataset = build.make_dataset(config)
    source = dataset.source("validation")
    assert len(source) == NUM_IMAGES
    variables = make_state(config, dataset).inference_variables
    predictor = build.make_predictor(config, variables, dataset.class_names)
    detected = collect_results(
        (
            (example.image_id, instances)
            for example in source
            for _, instances in predictor.detect_unordered([example.image])
        ),
        category_ids=source.category_ids,
    )
    metrics = evaluate_coco(coco_ground_truth(source), *detected)
    assert metrics["box_AP"] > 0
    row = {f"eval/{k}": None if math.isnan(v) else v for k, v in metrics.items()}
    return {"step": 0} | row, detected


def assert_same_results(folder, row, expected):
    expected_row, detected = expected
    # Not almost: the same order of the same scores.
    assert row == expected_row
    assert rows(folder) == [row]
    assert (folder / "samples.png").is_file()
    for kind, entries in zip(("bbox", "mask"), detected, strict=True):
        found = json.loads((folder / f"{kind}_detections.json").read_text())
        assert [rest(entry) for entry in found] == [rest(entry) for entry in entries]
        numbers = [numbers_of(entry) for entry in found]
        expected = [numbers_of(entry) for entry in entries]
        assert len(expected) > 20 * NUM_IMAGES
        np.testing.assert_allclose(numbers, expected, rtol=1e-5, atol=1e-5)


def numbers_of(entry):
    return [entry["score"], *entry.get("bbox", ())]


def rest(entry):
    return {k: v for k, v in entry.items() if k not in ("score", "bbox")}


def test_four_devices_equal_one(on_one_device, tmp_path):
    assert jax.local_device_count() == 4
    row = evaluate(tmp_path)
    assert_same_results(tmp_path, row, on_one_device)


@pytest.mark.slow
def test_two_processes_of_two_devices_equal_one(on_one_device, tmp_path):
    run_processes("evaluate", tmp_path)
    learned = [
        json.loads((tmp_path / f"row_{index}.json").read_text()) for index in range(2)
    ]
    assert learned[0] == learned[1]
    assert_same_results(tmp_path, learned[0], on_one_device)

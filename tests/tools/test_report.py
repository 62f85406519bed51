"""A report and a comparison are of the data that were evaluated, or refused."""

import csv
import dataclasses
import json

import cv2
import numpy as np
import pytest

from yolact_jax import build
from yolact_jax.data.records.dataset import coco_ground_truth
from yolact_jax.results.coco_ap import evaluate_coco
from yolact_jax.results.coco_entries import write_results
from yolact_jax.results.errors.scenes import truth_rle
from yolact_jax.results.report.numbers import Evaluated
from yolact_jax.run.folder import Run, load_run, save_run
from yolact_jax.tools.commands import evaluate as evaluate_command
from yolact_jax.tools.commands import model_flags
from yolact_jax.tools.commands import report as command
from yolact_jax.tools.commands.main import main
from yolact_jax.training.report import EVALUATION_FILE, Evaluation
from yolact_jax.zoo.specs import spec

SIDE = 64
NEW_FIELDS = ("class_names", "category_ids", "fingerprint", "max_detections", "options")


def write_data(folder, *, classes=("cat", "dog"), first_id=1, shift=0):
    """Three pictures with a cat and a dog each, as one json file."""
    ids = {name: first_id + i for i, name in enumerate(classes)}
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    for number in (1, 2, 3):
        pixels = np.full((SIDE, SIDE, 3), 60 * number, np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), pixels)
        size = {"height": SIDE, "width": SIDE}
        images.append({"id": number, "file_name": f"{number}.png"} | size)
        for name, corner in (("cat", 2), ("dog", 34)):
            x, y = corner + shift, corner + number
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[name],
                    "bbox": [x, y, 20, 20],
                    "area": 400,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + 20, y, x + 20, y + 20, x, y + 20]],
                }
            )
    categories = [{"id": i, "name": name} for name, i in ids.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(content))


def config_of(data, records):
    files = {"annotations": data / "labels.json", "images": data / "images"}
    return spec("custom").replace(
        {
            f"data.{split}_{kind}": str(path)
            for split in ("train", "validation")
            for kind, path in files.items()
        }
        | {"data.records_dir": str(records)}
    )


def evaluate(folder, data, records, *, split="validation", most=100, **options):
    """Leaves what evaluating a detector without fault leaves."""
    config = config_of(data, records)
    dataset = build.make_dataset(config, (split,))
    truth = coco_ground_truth(dataset.source(split))
    boxes, masks = [], []
    for annotation in truth["annotations"]:
        common = {k: annotation[k] for k in ("image_id", "category_id")}
        common["score"] = 0.9
        rle = truth_rle(annotation, (SIDE, SIDE))
        counts = rle["counts"].decode()
        boxes.append(common | {"bbox": annotation["bbox"]})
        masks.append(common | {"segmentation": rle | {"counts": counts}})
    write_results(folder, boxes, masks)
    evaluated = Evaluated(truth, {"box": boxes, "mask": masks}, [1, 2, 3], most)
    metrics = evaluate_coco(truth, boxes, masks, max_detections=most)
    options = {f"eval.{name}": value for name, value in options.items()}
    config = config.replace({"eval.max_detections": most} | options)
    Evaluation.of(5, split, evaluated, metrics, config).write(folder)


@pytest.fixture
def make_run(tmp_path):
    """Makes a run on data of its own, and evaluates it."""

    def make(name, *, split="validation", **options):
        data, folder = tmp_path / f"{name}_data", tmp_path / name
        write_data(data, **options)
        config = config_of(data, tmp_path / "records")
        save_run(folder, config, build.make_dataset(config, ("validation",)))
        evaluate(folder, data, tmp_path / "records", split=split)
        return folder, data

    return make


def forget(folder):
    """Leaves the file as earlier versions wrote it."""
    path = folder / EVALUATION_FILE
    content = json.loads(path.read_text())
    old = {k: v for k, v in content.items() if k not in NEW_FIELDS}
    assert len(content) - len(old) == len(NEW_FIELDS)
    path.write_text(json.dumps(old))


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def refusal(capsys, *words):
    capsys.readouterr()
    assert main(["report", *map(str, words)]) == 1
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    return error


@pytest.mark.parametrize("old", [False, True])
def test_equal_data_give_a_report_and_a_comparison(make_run, old):
    first, _ = make_run("first")
    second, _ = make_run("second")
    if old:
        forget(first)
        forget(second)
    assert main(["report", f"--workdir={first}"]) == 0
    assert [row["mask_AP"] for row in table(first / "report/classes.csv")] == [
        "1.0",
        "1.0",
    ]
    assert main(["report", f"--workdir={first}", f"--compare={second}"]) == 0
    rows = table(first / "report/comparison.csv")
    assert {float(row["difference"]) for row in rows} == {0}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": ("dog", "cat")}, "category id 1 was 'dog' and is 'cat'"),
        ({"classes": ("cat", "dog", "cow")}, "category id 3 was 'cow' and is None"),
        ({"first_id": 0}, "category id 0 was 'cat' and is None"),
    ],
)
def test_other_classes_are_not_compared(make_run, capsys, old, options, words):
    first, _ = make_run("first")
    second, _ = make_run("second", **options)
    if old:
        forget(second)
    error = refusal(capsys, f"--workdir={first}", f"--compare={second}")
    assert f"{second} was not evaluated on the validation data of {first}" in error
    assert words in error
    assert "evaluate again" in error


def test_other_objects_and_splits_are_not_compared(make_run, capsys):
    first, _ = make_run("first")
    second, _ = make_run("second", shift=5)
    error = refusal(capsys, f"--workdir={first}", f"--compare={second}")
    assert f"{second} was not evaluated on the validation data of {first}" in error
    assert "fingerprint" in error
    third, _ = make_run("third", split="train")
    error = refusal(capsys, f"--workdir={first}", f"--compare={third}")
    assert "on the split train" in error


def test_an_evaluation_on_other_data_is_not_reported(make_run, tmp_path, capsys):
    folder, _ = make_run("run")
    write_data(tmp_path / "other", shift=5)
    evaluate(folder, tmp_path / "other", tmp_path / "records")
    error = refusal(capsys, f"--workdir={folder}")
    assert f"not evaluated on the validation data of {folder}" in error
    assert not (folder / "report").exists()


def test_edited_data_are_not_reported(make_run, capsys):
    folder, data = make_run("run")
    content = json.loads((data / "labels.json").read_text())
    content["annotations"].pop()
    (data / "labels.json").write_text(json.dumps(content))
    assert "evaluate again" in refusal(capsys, f"--workdir={folder}")


def test_detections_of_unknown_classes_and_images_are_named(make_run, capsys):
    folder, _ = make_run("run")
    forget(folder)
    path = folder / "mask_detections.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps([*entries, entries[0] | {"category_id": 77}]))
    assert "no category id 77" in refusal(capsys, f"--workdir={folder}")
    old = Evaluation.read(folder)
    dataclasses.replace(old, image_ids=[1, 2, 3, 9]).write(folder)
    assert "no image 9" in refusal(capsys, f"--workdir={folder}")


def test_the_report_counts_as_many_detections_as_the_evaluation(make_run, tmp_path):
    folder, data = make_run("run")
    evaluate(folder, data, tmp_path / "records", most=10)
    assert main(["report", f"--workdir={folder}"]) == 0
    names = {row["metric"] for row in table(folder / "report/metrics.csv")}
    assert {"AR1", "AR10"} <= names
    assert "AR100" not in names


@pytest.mark.parametrize("old", [False, True])
def test_the_report_looks_for_objects_as_the_evaluation_did(
    make_run, tmp_path, monkeypatch, old
):
    folder, data = make_run("run")
    options = {"candidate_threshold": 0.75, "nms": "soft", "error_images": 2}
    evaluate(folder, data, tmp_path / "records", most=10, **options)
    if old:
        forget(folder)
        options = {}
    used = []
    monkeypatch.setattr(command, "report_evaluation", lambda *x, **_: used.append(x[4]))
    assert main(["report", f"--workdir={folder}"]) == 0
    run = load_run(folder).config.eval
    assert used[0].eval == dataclasses.replace(
        run, max_detections=run.max_detections if old else 10, **options
    )


@pytest.mark.parametrize("options", [{"eval.nmss": "fast"}, {"eval.nms": 3}, [3], 7])
def test_options_that_make_no_sense_are_named(make_run, capsys, options):
    folder, _ = make_run("run")
    path = folder / EVALUATION_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"options": options}))
    assert f"{EVALUATION_FILE} is damaged" in refusal(capsys, f"--workdir={folder}")


@pytest.mark.parametrize(
    ("words", "comparable"),
    [
        ([], True),
        (["--max_images=2"], False),
        (["--max_images=0"], True),  # That of the run.
        (["--nms=soft"], False),
        (["--config.eval.candidate_threshold=0.2"], False),
        (["--config.data.validation_images=elsewhere"], False),
        (["--config.data.validation_images=elsewhere", "--split=train"], True),
        (["--config.data.train_images=elsewhere", "--split=train"], False),
        (["--config.data.cache=memory", "--config.eval.report=false"], True),
    ],
)
def test_curves_show_evaluations_as_in_training_only(
    make_run, monkeypatch, words, comparable
):
    folder, _ = make_run("run")
    run, used = load_run(folder), []

    def load(values):
        config = model_flags._with_flags(values)
        return Run(config, run.class_names, run.category_ids), {"params": 0}, 5

    def note(*_, **options):
        used.append(options["comparable"])

    monkeypatch.setattr(model_flags, "load", load)
    monkeypatch.setattr(evaluate_command, "require_fit", lambda *_: None)
    monkeypatch.setattr(evaluate_command, "TrainState", lambda *_, **__: None)
    monkeypatch.setattr(evaluate_command, "evaluate_and_report", note)
    data = build.make_dataset(run.config, ("validation",))
    monkeypatch.setattr(build, "make_dataset", lambda *_, **__: data)
    assert main(["evaluate", f"--workdir={folder}", *words]) == 0
    assert used == [comparable]

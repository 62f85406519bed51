"""Train, resume, evaluate and predict through the functions that users run."""

import json
import shutil

import cv2
import jax
import numpy as np
import pytest

from tests.helpers.clips import read_clip, write_clip
from tests.helpers.runs import rows, tiny_config
from yolact_jax import build
from yolact_jax.data.errors import DatasetError
from yolact_jax.inference.options import PredictOptions
from yolact_jax.ops.nms.variants import NMS_VARIANTS
from yolact_jax.results.files import predict_files
from yolact_jax.results.takeaway import TakeAway
from yolact_jax.run import checkpoint
from yolact_jax.tools.commands.main import main
from yolact_jax.tools.doctor.examine import diagnose
from yolact_jax.training.evaluate import evaluate_and_report
from yolact_jax.training.loop import train
from yolact_jax.training.session import load_state
from yolact_jax.zoo.load import load as load_model
from yolact_jax.zoo.specs import spec

pytestmark = pytest.mark.long

SPLITS = ("train", "validation")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("end_to_end")
    config = tiny_config(folder)
    state = train(config, folder / "run")
    return config, folder / "run", jax.device_get(state)


def test_training_leaves_checkpoints_metrics_and_pictures(run):
    _, workdir, state = run
    assert int(state.step) == 4
    trained = [row for row in rows(workdir) if "train/loss" in row]
    assert [row["step"] for row in trained] == [1, 2, 4]
    assert all(np.isfinite(row["train/loss"]) for row in trained)
    evaluated = [row for row in rows(workdir) if "eval/mask_AP" in row]
    assert [row["step"] for row in evaluated] == [4]
    assert {"eval/mask_AP50", "eval/box_AP"} <= set(evaluated[0])
    picture = cv2.imread(str(workdir / "samples.png"))
    assert picture.shape[0] >= 320
    assert picture.std() > 10
    for name in ("bbox_detections.json", "mask_detections.json"):
        assert isinstance(json.loads((workdir / name).read_text()), list)
    with checkpoint.open_manager(workdir) as manager:
        assert sorted(manager.all_steps()) == [2, 4]


def test_predictions_are_labels_to_train_on(run, tmp_path):
    config, workdir, _ = run
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(images / f"{number}.png"), pixels)
    predict_files(
        load_model(workdir),
        images,
        tmp_path / "out",
        options=PredictOptions(score_threshold=0),
        take_away=TakeAway(segmentation="polygons", connected=True, disjoint=True),
    )
    files = {
        "annotations": str(tmp_path / "out/detections.json"),
        "images": str(images),
    }
    config = config.replace(
        {f"data.{split}_{k}": v for split in SPLITS for k, v in files.items()}
        | {"data.dataset": "coco", "data.records_dir": str(tmp_path / "records")}
        | {"train.num_steps": 1, "eval.max_images": 1, "eval.sample_images": 0}
    )
    problems = [found.text for found in diagnose(config) if found.level == "problem"]
    # Both splits are the same images here.
    assert all("validation" in text and "train" in text for text in problems), problems
    trained = build.make_dataset(config)
    assert trained.class_names == load_model(workdir).class_names
    assert sum(trained.source("train").num_objects) > 4
    assert int(train(config, tmp_path / "run").step) == 1


def test_resumed_run_equals_an_uninterrupted_one(run, tmp_path):
    config, _, expected = run
    config = config.replace(
        {
            "eval.max_images": 1,
            "train.num_steps": 2,
        }
    )
    train(config, tmp_path)
    config = config.replace({"train.num_steps": 4})
    state = jax.device_get(train(config, tmp_path))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_model_is_refused_and_the_folder_left_alone(run):
    config, workdir, _ = run
    before = (workdir / "config.json").read_text()
    other = config
    other = other.replace({"model.features": 24})
    with pytest.raises(ValueError, match=r"model\.features was 16 and is 24"):
        train(other, workdir)
    assert (workdir / "config.json").read_text() == before


def test_evaluation_of_the_loaded_run_repeats_the_result(run, tmp_path):
    _, workdir, _ = run
    loaded, state = load_state(workdir)
    dataset = build.make_dataset(loaded.config)
    first = [row for row in rows(workdir) if "eval/mask_AP" in row][-1]
    row = evaluate_and_report(loaded.config, dataset, state, workdir, output=tmp_path)
    assert row == first
    assert rows(workdir)[-1] == row
    assert (tmp_path / "mask_detections.json").is_file()


@pytest.mark.parametrize("with_categories", [True, False])
def test_images_without_annotations_give_result_files(run, tmp_path, with_categories):
    _, workdir, _ = run
    rng = np.random.default_rng(0)
    sizes = {904: (30, 50), 12: (64, 64), 77: (90, 40)}
    for number, size in sizes.items():
        pixels = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
    images = [
        {"id": number, "file_name": f"{number}.png", "height": h, "width": w}
        for number, (h, w) in sizes.items()
    ]
    names = load_model(workdir).class_names
    categories = [{"id": 10 * i + 5, "name": name} for i, name in enumerate(names)]
    content = {
        "images": images,
        **({"categories": categories} if with_categories else {}),
    }
    (tmp_path / "list.json").write_text(json.dumps(content))
    arguments = ["--split=test_dev", f"--annotations={tmp_path / 'list.json'}"]
    arguments += [f"--images={tmp_path}", f"--output={tmp_path / 'out'}"]
    before = (workdir / "metrics.jsonl").read_text()
    assert main(["evaluate", f"--workdir={workdir}", *arguments]) == 0
    assert (workdir / "metrics.jsonl").read_text() == before
    ids = {c["id"] for c in categories} if with_categories else {1, 2, 3, 4, 5}
    for name, field in (("bbox", "bbox"), ("mask", "segmentation")):
        path = tmp_path / "out" / f"{name}_detections.json"
        entries = json.loads(path.read_text())
        assert {entry["image_id"] for entry in entries} == set(sizes)
        assert {entry["category_id"] for entry in entries} <= ids
        for entry in entries:
            assert 0 <= entry["score"] <= 1
            if field == "segmentation":
                assert tuple(entry[field]["size"]) == sizes[entry["image_id"]]


def test_evaluation_leaves_a_report_that_the_command_makes_again(run, tmp_path, capsys):
    _, workdir, _ = run
    whole, other = tmp_path / "run", tmp_path / "other"
    for folder in (whole, other):
        shutil.copytree(workdir, folder)
    loaded, state = load_state(whole)
    config = loaded.config.replace({"eval.report": True, "eval.error_images": 2})
    dataset = build.make_dataset(config)
    row = evaluate_and_report(config, dataset, state, whole)
    numbers = json.loads((whole / "report" / "numbers.json").read_text())
    assert numbers["metrics"]["mask_AP"] == row["eval/mask_AP"]
    assert numbers["yolact"]["images"] == 2
    assert main(["report", "--workdir", str(other)]) == 0
    again = json.loads((other / "report" / "numbers.json").read_text())
    assert again["mask"] == numbers["mask"]
    assert again["yolact"]["images"] == 4
    # Masks assembled on the host are those of the device.
    own = again["yolact"]["budget"]["as it is"]
    assert own == pytest.approx(row["eval/mask_AP"], abs=0.02)
    assert main(["report", "--workdir", str(whole), "--compare", str(other)]) == 0
    table = (whole / "report" / "comparison.csv").read_text().splitlines()
    assert all(line.split(",")[4] in ("0.0", "") for line in table[1:])
    # Other pictures under the same ids.
    changes = ["--config.data.shapes_seed=1", "--config.eval.sample_images=0"]
    assert main(["evaluate", "--workdir", str(other), *changes]) == 0
    *before, last = rows(other)
    assert before == rows(workdir)
    assert "eval_other/mask_AP" in last
    assert "eval/mask_AP" not in last
    for words in ([str(other)], [str(whole), "--compare", str(other)]):
        assert main(["report", "--workdir", *words]) == 1
        assert "the fingerprint of the annotations" in capsys.readouterr().err
    (other / "mask_detections.json").unlink()
    assert main(["report", "--workdir", str(other)]) == 1


def test_inspect_lists_every_object(run, tmp_path):
    config, workdir, _ = run
    output = ["--output", str(tmp_path)]
    assert main(["inspect", "--workdir", str(workdir), *output]) == 0
    table = (tmp_path / "inspect" / "losses_objects.csv").read_text().splitlines()
    source = build.make_dataset(config).source("train")
    assert len(table) - 1 == source.num_objects.sum()
    losses = [float(line.split(",")[3]) for line in table[1:]]
    assert losses == sorted(losses, reverse=True)
    assert min(losses) > 0


QUICK = ("cluster", "matrix", "soft")


@pytest.mark.parametrize(
    "nms",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in NMS_VARIANTS
    ],
)
def test_every_kind_of_nms_evaluates(run, tmp_path, nms):
    _, workdir, _ = run
    loaded, state = load_state(workdir)
    config = loaded.config.replace(
        {
            "eval.nms": nms,
            "eval.class_agnostic": nms in ("soft", "sequential"),
            "eval.max_images": 2,
        }
    )
    dataset = build.make_dataset(config)
    row = evaluate_and_report(config, dataset, state, tmp_path, output=tmp_path)
    assert 0 <= row["eval/box_AP"] <= 1
    found = json.loads((tmp_path / "bbox_detections.json").read_text())
    assert found


def test_missing_checkpoint_and_folder_are_explained(run, tmp_path):
    _, workdir, _ = run
    with pytest.raises(ValueError, match=r"`step` 3 is not among .*\[2, 4\]"):
        load_state(workdir, 3)
    with pytest.raises(ValueError, match=r"`workdir` .* has no config.json"):
        load_state(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_predict_draws_pictures_and_skips_what_it_cannot_read(run, tmp_path):
    _, workdir, _ = run
    predictor = load_model(workdir)
    source = tmp_path / "images"
    source.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "a.jpg", "b.png"):
        image = rng.integers(0, 255, (50, 70, 3), dtype=np.uint8)
        cv2.imwrite(str(source / name), image)
    (source / "broken.jpg").write_bytes((source / "a.jpg").read_bytes()[:500])
    output = tmp_path / "out"
    arguments = {"options": PredictOptions(score_threshold=0.0)}
    problems = predict_files(predictor, source, output, **arguments)
    assert len(problems) == 1
    assert "broken.jpg" in problems[0]
    assert sorted(p.name for p in output.iterdir()) == [
        "a.jpg.png",
        "a.png.png",
        "b.png",
        "detections.json",
    ]
    content = json.loads((output / "detections.json").read_text())
    assert [i["file_name"] for i in content["images"]] == ["a.jpg", "a.png", "b.png"]
    assert len(content["categories"]) == 5
    for annotation in content["annotations"]:
        assert annotation["segmentation"]["size"] == [50, 70]
        assert annotation["iscrowd"] == 0
        assert annotation["area"] > 0
        assert 0 <= annotation["score"] <= 1
    with pytest.raises(ValueError, match=r"has a detections\.json already"):
        predict_files(predictor, source, output, **arguments)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="has no image"):
        predict_files(predictor, empty, tmp_path / "out2", **arguments)
    assert not (tmp_path / "out2").exists()


def test_predict_follows_objects_through_a_video_in_tiles(run, tmp_path):
    for package in ("av", "trackers"):
        pytest.importorskip(package)
    predictor = load_model(run[1])
    scenes = np.random.default_rng(0).integers(0, 255, (1, 50, 70, 3), np.uint8)
    clip = write_clip(tmp_path / "a.mp4", scenes.repeat(6, axis=0))
    options = PredictOptions(score_threshold=0.0, tile=40, overlap=0.25)
    problems = predict_files(
        predictor, clip, tmp_path / "out", with_tracks=True, options=options
    )
    assert problems == []
    frames, _, _ = read_clip(tmp_path / "out" / "a.mp4")
    assert frames.shape == (6, 50, 70, 3)
    content = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [image["frame_id"] for image in content["images"]] == list(range(6))
    assert content["annotations"]
    for annotation in content["annotations"]:
        assert annotation["segmentation"]["size"] == [50, 70]
    with pytest.raises(ValueError, match="`tile` is 1 pixels, smaller than"):
        predictor.predict(scenes[0], tile=1)


def test_missing_coco_is_explained_before_anything_is_written(tmp_path):
    config = spec("coco").replace(
        {
            "data.train_annotations": str(tmp_path / "instances_train2017.json"),
            "data.records_dir": str(tmp_path / "records"),
            "train.batch_size": 8,
        }
    )
    with pytest.raises(DatasetError, match=r"instances_train2017.json.*shapes.py"):
        train(config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["stablehlo", "onnx"])
def test_an_exported_run_is_evaluated_as_the_run(run, tmp_path, capsys, suffix):
    _, workdir, _ = run
    file = tmp_path / f"m.{suffix}"
    assert main(["export", f"--workdir={workdir}", f"--output={file}"]) == 0
    assert main(["evaluate", f"--weights={file}", f"--output={tmp_path}"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    *_, wanted = (row for row in rows(workdir) if "eval/mask_AP" in row)
    assert row["eval/mask_AP"] == pytest.approx(wanted["eval/mask_AP"], abs=1e-3)
    name = "bbox_detections.json"
    found, expected = (
        json.loads((folder / name).read_text()) for folder in (tmp_path, workdir)
    )
    assert len(found) == len(expected) > 10
    for one, other in zip(found, expected, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)
        assert one["category_id"] == other["category_id"]

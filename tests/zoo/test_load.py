"""The front door: what `import yolact_jax` gives, and models from wherever they are."""

import dataclasses
import doctest
import inspect
import json
import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import jax
import numpy as np
import pytest
from PIL import Image

import yolact_jax
from tests.zoo.test_pretrained import make_variables, tiny_config
from yolact_jax.run import checkpoint
from yolact_jax.run.folder import Run
from yolact_jax.weights.hub import PUBLISHED
from yolact_jax.zoo import pretrained

NAMES, IDS = ["cat", "dog", "cow"], [3, 5, 9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of random weights, and images."""
    folder = tmp_path_factory.mktemp("door")
    run = folder / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps(dataclasses.asdict(tiny_config())))
    dataset = {"class_names": NAMES, "category_ids": IDS, "fingerprint": "made up"}
    (run / "dataset.json").write_text(json.dumps(dataset))
    (run / "evaluations.json").write_text('{"1": 0.5, "2": 0.1}')
    with checkpoint.open_manager(run) as manager:
        for step in (1, 2):
            variables = jax.device_put(make_random(step))
            checkpoint.save(manager, step, variables | {"step": np.int32(step)})
    (folder / "photos").mkdir()
    image = np.random.default_rng(0).integers(0, 255, (48, 60, 3), dtype=np.uint8)
    for path in ("photo.jpg", "photos/a.png", "photos/b.png"):
        cv2.imwrite(str(folder / path), image)
    return folder


def make_random(seed):
    """Weights small enough for finite numbers, with positive variances."""
    variables = make_variables(3, seed)
    centered = jax.tree.map(lambda x: 0.2 * (x - 0.5), variables["params"])
    return {"params": centered, "batch_stats": variables["batch_stats"]}


@pytest.fixture(scope="module")
def model(folder):
    return yolact_jax.load(folder / "run")


def python(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_import_starts_nothing_and_knows_its_names():
    heavy = {"jax", "numpy", "flax", "cv2", "ml_collections"}
    code = f"import sys, yolact_jax; print({heavy} & set(sys.modules), dir(yolact_jax))"
    result = python(code)
    assert result.stdout.startswith("set()"), result.stderr
    for name in yolact_jax.__all__:
        assert repr(name) in result.stdout
        assert getattr(yolact_jax, name)
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = yolact_jax.train
    assert (pathlib.Path(yolact_jax.__file__).parent / "py.typed").is_file()


def test_a_model_that_is_loaded_again_is_not_compiled_again(folder, model):
    image = folder / "photo.jpg"
    wanted = model.predict(image, score_threshold=0.0)
    again = yolact_jax.load(folder / "run", step=1)
    programs = again.engine.predict_fn._jitted._cache_size()
    assert programs == model.engine.predict_fn._jitted._cache_size() > 0
    found = again.predict(image, score_threshold=0.0)
    assert again.engine.predict_fn._jitted._cache_size() == programs
    assert not np.array_equal(found.scores, wanted.scores)  # Its weights are its own.


@pytest.mark.long
def test_predicting_imports_nothing_of_training(folder):
    code = (
        "import sys, yolact_jax; m = yolact_jax.load(sys.argv[1]);"
        "r = m.predict(sys.argv[2], score_threshold=0); print(len(r), r.to_coco()[:1]);"
        "bad = 'tensorflow_datasets grain optax orbax yolact_jax.training'.split();"
        "sys.exit(str([name for name in bad if name in sys.modules]))"
    )
    result = python(code, folder / "run", folder / "photo.jpg")
    assert result.stderr.splitlines()[-1] == "[]", result.stderr
    assert int(result.stdout.split()[0]) > 0


def test_step_of_a_run_is_chosen(folder):
    run = folder / "run"
    image = str(folder / "photo.jpg")
    kinds = {
        step: yolact_jax.load(run, step=step).predict(image, score_threshold=0)
        for step in ("latest", "best", 1, 2)
    }
    for name, number in (("latest", 2), ("best", 1)):
        np.testing.assert_array_equal(kinds[name].scores, kinds[number].scores)
    assert not np.array_equal(kinds[1].scores, kinds[2].scores)
    with pytest.raises(ValueError, match=r"`step` 3 is not among"):
        yolact_jax.load(run, step=3)


def test_a_file_of_weights_predicts_as_the_run(folder, model, tmp_path):
    run = Run(tiny_config(), tuple(NAMES), tuple(IDS))
    pretrained.export_weights(run, make_random(2), tmp_path / "m.safetensors")
    other = yolact_jax.load(tmp_path / "m.safetensors", config=tiny_config())
    image = str(folder / "photo.jpg")
    results = [m.predict(image, score_threshold=0) for m in (model, other)]
    assert results[0].to_coco() == results[1].to_coco()
    assert {e["category_id"] for e in results[0].to_coco()} <= set(IDS)
    with pytest.raises(ValueError, match=r"`step` is 'best', but .* is no folder"):
        yolact_jax.load(tmp_path / "m.safetensors", step="best", config=tiny_config())
    with pytest.raises(ValueError, match="`config` must be given for"):
        yolact_jax.load(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="`config` is not needed: the run"):
        yolact_jax.load(folder / "run", config=tiny_config())


def test_weights_that_cannot_be_had_are_explained(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def fail(*args):
        raise OSError("no route")

    monkeypatch.setattr(hub, "hf_hub_download", fail)
    file = PUBLISHED["yolact_resnet50"].file
    with pytest.raises(ValueError, match=f"without a network, fetch {file} from https"):
        yolact_jax.load("yolact_resnet50")
    with pytest.raises(ValueError, match="neither a file nor a published name"):
        yolact_jax.load("yolact_resnet5")


def test_a_config_that_does_not_fit_is_told_at_first_use(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    content["model"]["num_prototypes"] = 5
    path.write_text(json.dumps(content))
    model = yolact_jax.load(tmp_path / "run")
    with pytest.raises(ValueError, match="does not fit the model of the config: its"):
        model.predict(np.zeros((20, 20, 3), np.uint8))


def test_a_damaged_checkpoint_is_named(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "run")
    file = tmp_path / "run/checkpoints/2/variables/arrays.npz"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"Checkpoint 2 in .* is damaged"):
        yolact_jax.load(tmp_path / "run")
    assert yolact_jax.load(tmp_path / "run", step=1)


def test_every_kind_of_input_gives_the_same(folder, model):
    path = folder / "photos" / "a.png"
    pixels = cv2.imread(str(path))[..., ::-1].copy()
    alpha = np.full((48, 60, 1), 7, np.uint8)
    kinds = [
        path, str(path), pixels, Image.fromarray(pixels),
        np.concatenate([pixels, alpha], axis=2),
        Image.fromarray(pixels).convert("RGBA"),
    ]  # fmt: skip
    results = model.predict(kinds, score_threshold=0.0)
    assert len(results) == len(kinds)
    assert results[0].source == path
    for result in results:
        np.testing.assert_array_equal(result.scores, results[0].scores)
        np.testing.assert_array_equal(result.image, pixels)
    gray = pixels[..., 0].copy()
    three = np.repeat(gray[..., None], 3, axis=2)
    for kind in (gray, gray[..., None], Image.fromarray(gray)):
        np.testing.assert_array_equal(model.predict(kind).image, three)
    assert [r.source.name for r in model.stream(folder / "photos")] == [
        "a.png",
        "b.png",
    ]
    assert model.predict([]) == []


def test_pil_images_are_turned_upright(folder, model, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, (30, 50, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn to the right
    image.save(tmp_path / "x.png", exif=exif)
    for kind in (tmp_path / "x.png", Image.open(tmp_path / "x.png")):
        result = model.predict(kind)
        np.testing.assert_array_equal(result.image, np.rot90(pixels, -1))


def test_threshold_is_that_of_the_call(folder, model):
    image = folder / "photo.jpg"
    everything = model.predict(image, score_threshold=0)
    assert len(everything) > 2
    middle = float(np.median(everything.scores))
    some = model.predict(image, score_threshold=middle)
    assert len(some) == (everything.scores >= middle).sum()
    for bad in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"`score_threshold` is .* from 0 to 1"):
            model.predict(image, score_threshold=bad)


def test_bad_images_are_named(folder, model, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"x\.jpg: the file is not an image"):
        model.predict(tmp_path / "x.jpg")
    with pytest.raises(ValueError, match=r"nothing\.jpg: cannot be read"):
        model.predict("nothing.jpg")
    with pytest.raises(ValueError, match=r"must be a path, a PIL image, or .* got int"):
        model.predict(3)


FRONT_DOOR = [yolact_jax, yolact_jax.load, yolact_jax.draw]
FRONT_DOOR += [yolact_jax.Predictor, yolact_jax.Predictor.predict]
FRONT_DOOR += [yolact_jax.Predictor.stream, yolact_jax.Instances]
FRONT_DOOR += [
    getattr(yolact_jax.Instances, name)
    for name in ["polygons", "rles", "to_coco", "to_labelme", "crops", "draw", "save"]
]


@pytest.mark.parametrize("entry", FRONT_DOOR, ids=lambda e: e.__name__)
def test_examples_of_the_docstrings_run(entry, folder, model, tmp_path, monkeypatch):
    shutil.copytree(folder / "photos", tmp_path / "photos")
    shutil.copy(folder / "photo.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    result = model.predict("photo.jpg", score_threshold=0.0)
    names = {
        "run": folder / "run", "model": model, "result": result, "image": result.image,
        "array": result.image, "pil_image": Image.fromarray(result.image),
        "yolact_jax": yolact_jax, "Path": pathlib.Path, "json": json, "cv2": cv2,
    }  # fmt: skip
    exec("import pycocotools.mask", names)
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(entry))
    assert examples
    for example in examples:
        exec(compile(example.source, entry.__name__, "single"), names)

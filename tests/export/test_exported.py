"""Exported files give what the model gives, and bad ones are one sentence."""

import json
import os
import subprocess
import sys
import zipfile

import cv2
import jax
import numpy as np
import pytest

import yolact_jax
from tests.helpers import lively
from yolact_jax import build
from yolact_jax.config import InputFrame
from yolact_jax.export.onnx.file import export_onnx
from yolact_jax.export.stablehlo import export_stablehlo
from yolact_jax.inference.exported import onnx_file, stablehlo_file
from yolact_jax.tools.commands.main import main

pytestmark = pytest.mark.long

SIZES = [(148, 160), (200, 140), (200, 140), (130, 250)]
OBLONG = [(120, 240), (240, 120)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same model in both formats."""
    folder = tmp_path_factory.mktemp("exported")
    run = lively.run_of()
    variables = lively.variables_of(run)
    export_stablehlo(run, variables, folder / "m.stablehlo")
    export_onnx(run, variables, folder / "m.onnx")
    return folder


@pytest.fixture(scope="module")
def expected():
    run = lively.run_of()
    predictor = build.make_predictor(
        run.config, lively.variables_of(run), run.class_names
    )
    return predictor.predict(lively.pictures(*SIZES), score_threshold=0.0)


@pytest.mark.parametrize("suffix", ["stablehlo", "onnx"])
def test_files_find_the_same(folder, expected, suffix):
    model = yolact_jax.load(folder / f"m.{suffix}")
    found = model.predict(lively.pictures(*SIZES), score_threshold=0.0)
    assert min(map(len, expected)) > 5
    for one, other in zip(found, expected, strict=True):
        lively.assert_same_objects(one, other)


@pytest.mark.parametrize("suffix", ["stablehlo", "onnx"])
def test_letterboxed_files_find_the_same(tmp_path, suffix, letterboxed):
    run, variables, expected = letterboxed
    export = {"stablehlo": export_stablehlo, "onnx": export_onnx}[suffix]
    export(run, variables, tmp_path / f"m.{suffix}")
    found = yolact_jax.load(tmp_path / f"m.{suffix}").predict(
        lively.pictures(*OBLONG), score_threshold=0.0
    )
    for one, other in zip(found, expected, strict=True):
        assert len(other) > 5
        lively.assert_same_objects(one, other)
    read = {"stablehlo": stablehlo_file.read_about, "onnx": onnx_file.read_about}
    about = read[suffix](tmp_path / f"m.{suffix}")
    assert about.config.data.frame == InputFrame(64, 96, letterbox=True)
    content = json.loads(about.to_json())
    assert (content["input_size"], content["resize"]) == ([64, 96], "letterbox")


@pytest.fixture(scope="module")
def letterboxed():
    run = lively.run_of("letterbox")
    variables = lively.variables_of(run)
    predictor = build.make_predictor(run.config, variables, run.class_names)
    found = predictor.predict(lively.pictures(*OBLONG), score_threshold=0.0)
    return run, variables, found


def test_stablehlo_finds_the_same_to_the_last_bit(folder):
    """In a process with XLA's own flags: those of the tests round more coarsely."""
    code = """
import sys, numpy as np, yolact_jax
from tests.helpers import lively
from yolact_jax import build
run = lively.run_of()
direct = build.make_predictor(run.config, lively.variables_of(run), run.class_names)
images = lively.pictures((148, 160), (200, 140))
pairs = zip(
    yolact_jax.load(sys.argv[1]).predict(images, score_threshold=0.0),
    direct.predict(images, score_threshold=0.0),
)
for one, other in pairs:
    assert len(one) > 5
    for field in ("boxes_px", "scores", "labels", "masks"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
"""
    environment = {
        **os.environ,
        "XLA_FLAGS": "",
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    words = [sys.executable, "-c", code, folder / "m.stablehlo"]
    subprocess.run(words, env=environment, check=True)


@pytest.mark.parametrize("suffix", ["stablehlo", "onnx"])
def test_options_choose_at_run_time(folder, suffix):
    model = yolact_jax.load(folder / f"m.{suffix}")
    assert (model.class_names, model.category_ids) == (lively.NAMES, lively.IDS)
    (image,) = lively.pictures((48, 60))
    every = model.predict(image, score_threshold=0.0)
    chosen = model.predict(image, score_threshold={"dog": 0.4}, classes=["dog", "cow"])
    least = np.array([2.0, 0.4, 0.3])[every.labels]
    wanted = every[every.scores >= least]
    assert 0 < len(chosen) < len(every)
    np.testing.assert_array_equal(chosen.scores, wanted.scores)
    np.testing.assert_array_equal(chosen.masks, wanted.masks)
    assert not len(model.predict(image, score_threshold=1.0))
    wide = model.predict(image, score_threshold=0.0, mask_margin=0.5)
    assert wide.masks.sum() > every.masks.sum()
    assert (wide.masks | every.masks).sum() == wide.masks.sum()


@pytest.mark.parametrize("suffix", ["stablehlo", "onnx"])
def test_files_search_in_tiles(folder, suffix):
    """The smallest anchors have sides of 24 sqrt(0.5) = 16.97 pixels."""
    model = yolact_jax.load(folder / f"m.{suffix}")
    (image,) = lively.pictures((64, 128))
    found = model.predict(image, score_threshold=0.0, tile=64, overlap=0)
    halves = model.predict([image[:, :64], image[:, 64:]], score_threshold=0.0)
    assert sorted(found.scores) == sorted(np.concatenate([h.scores for h in halves]))
    with pytest.raises(ValueError, match=r"`tile` is 16 .* must be at least 17"):
        model.predict(image, tile=16)


@pytest.mark.parametrize("least", [0.0, 0.5, 1.0])
def test_onnx_masks_take_no_memory_for_empty_slots(folder, least):
    """Full-size planes only for as many objects as the fullest image has."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "m.onnx")
    images = np.stack(lively.pictures((40, 60), (40, 60)))
    inputs = {"image": images, "score_thresholds": np.full(3, least, np.float32)}
    count, masks = session.run(["count", "masks"], inputs)
    assert masks.shape == (2, max(1, *count), 40, 60)
    assert (count == 0).all() == (least == 1)


def test_a_file_runs_on_any_canvas_and_batch(folder):
    """Two images of the larger canvas at once, with one program."""
    model = yolact_jax.load(folder / "m.stablehlo")
    large = lively.pictures((300, 290), (260, 270))
    single = [model.predict(image) for image in large]
    for one, other in zip(model.predict(large), single, strict=True):
        np.testing.assert_array_equal(one.masks, other.masks)


def test_jax_alone_runs_the_documented_lines(folder, tmp_path, expected):
    """The example of the documentation, in a process that cannot import the package."""
    (image,) = lively.pictures(SIZES[0])
    np.save(tmp_path / "image.npy", image)
    code = f"""
import sys
sys.modules["yolact_jax"] = None
import json, zipfile
import jax, jax.export
import numpy as np

with zipfile.ZipFile("{folder}/m.stablehlo") as file:
    about = json.loads(file.read("about.json"))
    names = about["program"]["weights"]
    weights = [np.load(file.open(f"weights/{{name}}.npy")) for name in names]
    where = about["program"]["folders"][jax.export.default_export_platform()]
    prepare, detect = (
        jax.export.deserialize(bytearray(file.read(f"{{where}}/{{name}}.bin")))
        for name in ("prepare", "detect")
    )
image = np.load("image.npy")
canvases = np.zeros((1, 256, 256, 3), np.uint8)
canvases[0, :148, :160] = image
choices = {{
    "score_thresholds": np.zeros(len(about["class_names"]), np.float32),
    "mask_margin": np.float32(0),
    "candidate_threshold": np.float32(about["config"]["eval"]["candidate_threshold"]),
    "iou_threshold": np.float32(about["config"]["eval"]["iou_threshold"]),
}}
weights += prepare.call(weights)
found = detect.call(weights, canvases, np.array([[148, 160]], np.int32), choices)
np.save("scores.npy", found["scores"][0])
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    scores = np.load(tmp_path / "scores.npy")
    np.testing.assert_allclose(
        scores[: len(expected[0])], expected[0].scores, atol=1e-6
    )


def test_loading_an_exported_file_makes_no_module(folder, monkeypatch):
    monkeypatch.setattr(build, "make_model", None)
    model = yolact_jax.load(folder / "m.stablehlo")
    assert len(model.predict(lively.pictures((48, 60))[0], score_threshold=0.0))


def change_about(path, target, **changes):
    """Copies a .stablehlo file with other entries in about.json."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == stablehlo_file.ABOUT:
                data = json.dumps({**json.loads(data), **changes})
            new.writestr(name, data)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 2, "versions": {"yolact_jax": "9.9"}}, "written by yolact_jax 9.9"),
        ({"class_names": ["a", "a", "b"]}, "lists of different names"),
        ({"config": {"moodel": {}}}, "unknown field config.moodel"),
        ({"program": None}, "does not say which model"),
        ({"program": {"weights": 5, "folders": {"cpu": "cpu"}}}, "its `program`"),
        ({"program": {"weights": ["x", "y"], "folders": "cpu"}}, "its `program`"),
        ({"program": {"weights": ["x"], "folders": {"cpu": 7}}}, "7/prepare.bin"),
        ({"program": {}}, "its `program`"),
    ],
)
def test_another_description_is_refused(folder, tmp_path, changes, sentence):
    path = tmp_path / "n.stablehlo"
    change_about(folder / "m.stablehlo", path, **changes)
    with pytest.raises(ValueError, match=rf"n\.stablehlo .*{sentence}"):
        _ = yolact_jax.load(path).engine


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (8, b"\1"),  # The members are encrypted.
        (9, b"\x08"),  # Their names are UTF-8, and the first is not.
        (6, b"\xff"),  # A version of the far future is needed.
        (42, b"\xff\xff\xff\x7f"),  # They are beyond the end.
        (10, b"\x63"),  # They are compressed in an unknown way.
    ],
)
def test_a_damaged_directory_is_one_sentence(folder, tmp_path, place, value):
    data = bytearray((folder / "m.stablehlo").read_bytes())
    start = data.find(b"PK\1\2")
    data[start + 46] = 0xFF if place == 9 else data[start + 46]
    while start >= 0:
        data[start + place : start + place + len(value)] = value
        start = data.find(b"PK\1\2", start + 4)
    path = tmp_path / "n.stablehlo"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"n\.stablehlo is damaged, or not written"):
        yolact_jax.load(path)


def test_a_platform_without_a_program_is_named(folder, tmp_path):
    path = tmp_path / "n.stablehlo"
    run = lively.run_of()
    export_stablehlo(run, lively.variables_of(run), path, ["tpu"])
    with pytest.raises(ValueError, match=r"no program for cpu.* but for tpu"):
        yolact_jax.load(path).predict(lively.pictures((48, 60))[0])


def test_an_unreadable_program_names_the_version_of_jax(folder, tmp_path):
    path = tmp_path / "n.stablehlo"
    with (
        zipfile.ZipFile(folder / "m.stablehlo") as old,
        zipfile.ZipFile(path, "w") as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, b"newer" * 50 if name.endswith(".bin") else data)
    with pytest.raises(ValueError, match=f"with JAX {jax.__version__}, and JAX .* can"):
        yolact_jax.load(path).predict(lively.pictures((48, 60))[0])


@pytest.mark.parametrize("suffix", ["stablehlo", "onnx"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_files_are_refused(folder, tmp_path, suffix, share):
    data = (folder / f"m.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"damaged|holds another model"):
        yolact_jax.load(path)


def test_an_onnx_file_of_another_model_is_refused(tmp_path):
    import onnx
    from onnx import helper

    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1,))
    other = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1,))
    node = helper.make_node("Relu", ["x"], ["y"])
    model = helper.make_model(
        helper.make_graph([node], "other", [info], [other]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="holds another model"):
        yolact_jax.load(tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="does not exist"):
        yolact_jax.load(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("argument", ["step", "config", "nms", "class_names"])
def test_arguments_without_effect_are_refused(folder, argument):
    with pytest.raises(ValueError, match=f"`{argument}` has no effect"):
        yolact_jax.load(folder / "m.onnx", **{argument: "best"})


def test_predict_command_runs_both(folder, tmp_path, capsys):
    (image,) = lively.pictures((48, 60))
    cv2.imwrite(str(tmp_path / "photo.png"), image)
    counts = []
    for suffix in ("stablehlo", "onnx"):
        output = tmp_path / suffix
        words = [f"--weights={folder}/m.{suffix}", f"--source={tmp_path}/photo.png"]
        words += [f"--output={output}", "--score_threshold=0.1"]
        words += ["--config.eval.batch_size=3", "--config.eval.iou_threshold=0.5"]
        assert main(["predict", *words]) == 0, capsys.readouterr().err
        result = json.loads((output / "detections.json").read_text())
        counts.append(len(result["annotations"]))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["predict", "--nms=soft"], "--nms has no effect"),
        (["predict", "--config=shapes"], "has a config of its own"),
        (["predict", "--config.eval.top_k=7"], "exported with 30; only"),
        (["predict", "--config.eval.weighted_boxes"], "exported with False; only"),
        (["evaluate", "--config.eval.weighted_boxes"], "eval.batch_size, "),
        (["predict", "--config.data.input_size=96"], "can change, but for input_size"),
        (["export", "--output=x.onnx"], "not the weights that are needed here; give"),
        (["predict", "--explore=x.html"], "not the weights that are needed here; give"),
    ],
)
def test_contradicting_flags_are_refused(folder, words, sentence, capsys):
    words = [*words, f"--weights={folder}/m.onnx"]
    words += ["--source=x"] if words[0] == "predict" else []
    assert main(words) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["stablehlo", "onnx"])
@pytest.mark.parametrize("words", [["predict", "--source=x"], ["export", "--output=x"]])
def test_a_missing_file_is_named_as_it_was_given(tmp_path, suffix, words, capsys):
    path = tmp_path / f"nothing.{suffix}"
    assert main([*words, f"--weights={path}"]) == 1
    error = capsys.readouterr().err
    assert error == f"yolact-jax {words[0]}: The exported file {path} does not exist.\n"
    with pytest.raises(ValueError, match="does not exist"):
        yolact_jax.load(path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--output=m.pt"], "ends in none of"),
        (["--output=m.onnx", "--platforms=cpu"], "--platforms has no effect"),
        (["--output=m.stablehlo", "--dtype=float16"], "--dtype has no effect"),
    ],
)
def test_export_refuses_what_has_no_effect(words, sentence, capsys):
    assert main(["export", "--weights=yolact_base", *words]) == 1
    assert sentence in capsys.readouterr().err

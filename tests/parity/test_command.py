"""`python -m parity` on folders of other seeds, sizes and arrays, made by the test."""

import json

import jax
import numpy as np
import pytest

from parity import __main__ as command
from parity.images import synthetic_image
from parity.manifest import Manifest
from parity.models import forward_fn, to_nchw
from yolact_jax.models.normalize import normalize_images

pytestmark = pytest.mark.long

NAME, SIDE, SEED, IMAGE_SEED = "yolact_resnet50", 64, 7, 3
MEAN, STD = np.array([123.68, 116.78, 103.94]), np.array([58.40, 57.12, 57.38])


def manifest_of(**changes):
    entry = {"num_classes": 4, "max_size": SIDE, "rule": {"conf_background_bias": 3.0}}
    content = {"seed": SEED, "image_seed": IMAGE_SEED, "image_shape": [48, 80, 3]}
    return content | {"configs": {NAME: entry}} | changes


def resized(image):
    """Bilinear with half-pixel centers, in float64, pixel by pixel."""
    height, width = image.shape[:2]
    out = np.empty((SIDE, SIDE, 3))
    for y in range(SIDE):
        for x in range(SIDE):
            v = max((y + 0.5) * height / SIDE - 0.5, 0)
            u = max((x + 0.5) * width / SIDE - 0.5, 0)
            top, left = int(v), int(u)
            rows = (top, min(top + 1, height - 1))
            columns = (left, min(left + 1, width - 1))
            out[y, x] = sum(
                abs(1 - i - (v - top)) * abs(1 - j - (u - left)) * image[r, c]
                for i, r in enumerate(rows)
                for j, c in enumerate(columns)
            )
    return out


@pytest.fixture(scope="module")
def arrays():
    """The input from NumPy in float64, the rest from a forward pass of the package."""
    image = synthetic_image(48, 80, IMAGE_SEED)
    model = Manifest(None, manifest_of()).model(NAME)
    with jax.default_matmul_precision("highest"):
        inputs = normalize_images(
            np.float32(resized(image))[None], model.module.normalization
        )
        predictions, stages = forward_fn(model)(model.variables(), inputs)
    expected = (resized(image) - MEAN) / STD
    return {
        "images": np.array(["synthetic"]),
        "level_sizes": np.array([[8, 8], [4, 4], [2, 2], [1, 1], [1, 1]]),
        "img0/input": np.float32(expected.transpose(2, 0, 1)[None]),
        "img0/P3": to_nchw(stages["P3"]),
        "img0/conf_logits": np.asarray(predictions.class_logits),
        "img0/unheard": np.zeros(3),
    }


def write(folder, manifest, arrays, name=f"{NAME}.npz"):
    if manifest is not None:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    np.savez(folder / name, **arrays)


def run(folder, capsys, *arguments):
    """Exit status and printed lines; the status is a sentence where it refuses."""
    with pytest.raises(SystemExit) as stopped:
        command.main(["--golden", str(folder), *arguments])
    return stopped.value.code, capsys.readouterr().out.splitlines()


def test_another_seed_is_within_tolerance(tmp_path, capsys, arrays):
    write(tmp_path, manifest_of(), arrays)
    np.savez(tmp_path / "golden_ap.npz", x=np.zeros(1))
    status, lines = run(tmp_path, capsys)
    assert not status, lines
    assert lines[-1] == "4 of 4 within tolerance"
    assert f"# {NAME}.npz: not compared: img0/unheard" in lines
    assert "# not compared: golden_ap.npz" in lines


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"seed": 8}, {"P3", "conf_logits"}),
        ({"image_seed": 4}, {"input", "P3", "conf_logits"}),
        ({"image_crc32": 1}, {"generated image"}),
    ],
)
def test_another_manifest_is_not(tmp_path, capsys, arrays, changes, failing):
    write(tmp_path, manifest_of(**changes), arrays)
    status, lines = run(tmp_path, capsys)
    assert status == 1
    found = {line.split()[2] for line in lines if " FAIL " in line}
    assert found == {words.split()[0] for words in failing}


def test_another_rule_is_not(tmp_path, capsys, arrays):
    manifest = manifest_of()
    manifest["configs"][NAME]["rule"] = {"conf_background_bias": 3.5}
    write(tmp_path, manifest, arrays)
    status, lines = run(tmp_path, capsys)
    assert status == 1
    assert lines[-1] == "3 of 4 within tolerance"


@pytest.mark.parametrize("name", ["level_sizes", "img0/P3", "img0/conf_logits"])
def test_a_planted_error_is_found(tmp_path, capsys, arrays, name):
    wrong = arrays[name].copy()
    wrong.flat[5] += 1 if wrong.dtype.kind == "i" else 0.1 * wrong.std()
    write(tmp_path, manifest_of(), arrays | {name: wrong})
    status, lines = run(tmp_path, capsys)
    assert status == 1
    assert lines[-1] == "3 of 4 within tolerance"


def iou_of(a, b):
    """Loops in float64."""
    area = [np.prod(np.float64(box[2:]) - box[:2]) for box in (*a, *b)]
    out = np.empty((len(a), len(b)))
    for i, one in enumerate(np.float64(a)):
        for j, other in enumerate(np.float64(b)):
            sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
            inter = np.prod(np.maximum(sides, 0))
            out[i, j] = inter / (area[i] + area[len(a) + j] - inter)
    return out


def test_a_file_with_a_few_operations_is_compared(tmp_path, capsys):
    corners = np.random.default_rng(0).random((9, 2, 2), np.float32)
    boxes = np.sort(corners, axis=1).reshape(9, 4)
    iou = iou_of(boxes[:4], boxes[4:])
    golden = {"jaccard/a": boxes[:4], "jaccard/b": boxes[4:], "jaccard/iou": iou}
    write(tmp_path, manifest_of(), golden, "golden_ops.npz")
    status, lines = run(tmp_path, capsys)
    assert (status, lines[-1]) == (0, "1 of 1 within tolerance")
    golden["jaccard/iou"] = iou + 1e-4
    write(tmp_path, manifest_of(), golden, "golden_ops.npz")
    assert run(tmp_path, capsys)[0] == 1


@pytest.mark.parametrize(
    ("manifest", "arguments", "sentence"),
    [
        (None, (), "has no readable manifest.json"),
        ({}, (), "has no `configs`"),
        (manifest_of(seed="x"), (), "`seed` is 'x'"),
        (manifest_of(configs={"yolact_x": {}}), (), "unknown config yolact_x"),
        (manifest_of(), ("--only", "yolact_x"), "`--only` yolact_x is not in"),
        (manifest_of(), ("--only", "ops"), "has no arrays to compare of ops"),
        (manifest_of(), ("--check", "sgd"), "has no arrays to compare"),
        (manifest_of(), (), "nothing.png is missing"),
    ],
)
def test_refuses_in_one_sentence(tmp_path, capsys, manifest, arguments, sentence):
    write(tmp_path, manifest, {"images": np.array(["nothing.png"])})
    status, _ = run(tmp_path, capsys, *arguments)
    assert sentence in status
    assert "\n" not in status


def test_refuses_a_damaged_file(tmp_path, capsys):
    write(tmp_path, manifest_of(), {})
    (tmp_path / f"{NAME}.npz").write_bytes(b"PK" + bytes(90))
    status, _ = run(tmp_path, capsys)
    assert f"{NAME}.npz cannot be read" in status

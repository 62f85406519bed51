"""The page's masks in a browser, what NMS dropped, and names with HTML in them."""

import base64
import dataclasses
import json
import re
import shutil
import subprocess

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from yolact_jax.config import InputFrame
from yolact_jax.ops.nms.per_class import fast_nms
from yolact_jax.results.errors import assembly
from yolact_jax.results.explore.page import explorer_page, stored
from yolact_jax.results.explore.suppressed import find_suppressed
from yolact_jax.structures import Detections, Predictions

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
NASTY = "</script><script>alert(1)</script>"
SIZE = (150, 200)
FRAME = InputFrame(120, 120)


def smooth(generator, *shape):
    """Prototypes with blobs instead of noise."""
    values = generator.random(shape).astype(np.float32) - 0.5
    return 9 * np.stack([cv2.blur(v, (5, 5)) for v in np.moveaxis(values, -1, 0)], -1)


@pytest.fixture(scope="module")
def scene():
    generator = np.random.default_rng(0)
    count = 2
    detections = Detections(
        boxes=np.array([[0.1, 0.2, 0.8, 0.9], [0.5, 0.1, 1.1, 0.6]], np.float32),
        scores=np.array([0.9, 0.6], np.float32),
        labels=np.array([0, 1], np.int32),
        coefficients=generator.uniform(-1, 1, (count, 6)).astype(np.float32),
        anchor_index=np.array([3, 8], np.int32),
        valid=np.ones(count, bool),
    )
    predictions = Predictions(
        box_deltas=np.zeros((9, 4), np.float32),
        class_logits=np.zeros((9, 3), np.float32),
        coefficients=np.zeros((9, 6), np.float32),
        prototypes=smooth(generator, 30, 30, 6),
    )
    return detections, predictions


def page_of(scene, threshold=0.3, frame=FRAME):
    image = np.full((*SIZE, 3), 128, np.uint8)
    return explorer_page(
        image,
        *scene,
        [NASTY, "b"],
        [],
        score_threshold=threshold,
        frame=frame,
    )


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser")
@pytest.mark.parametrize(("number", "letterbox"), [(0, False), (1, False), (0, True)])
def test_masks_in_the_browser_are_those_of_python(scene, tmp_path, number, letterbox):
    page, picture = tmp_path / "page.html", tmp_path / "shot.png"
    frame = dataclasses.replace(FRAME, letterbox=letterbox)
    page.write_text(page_of(scene, frame=frame))
    flags = ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars")
    command = [
        CHROMIUM,
        *(f"--{flag}" for flag in flags),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=800,600",
        f"--screenshot={picture}",
        f"file://{page}#mask={number}",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    shot = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)[: SIZE[0], : SIZE[1]] > 127
    detections, predictions = scene
    soft = assembly.assemble(predictions.prototypes, detections.coefficients)[number]
    shown = frame.used_cells(*SIZE, soft.shape)
    assert shown == ((22.5, 30) if letterbox else (30, 30))
    cropped = assembly.cropped(soft, detections.boxes[number], shown)
    expected = assembly.enlarged(cropped, SIZE, shown)
    assert 500 < expected.sum() < 0.9 * expected.size
    assert (shot & expected).sum() / (shot | expected).sum() >= 0.98


def test_prototypes_are_stored_to_half_a_step(scene):
    prototypes = scene[1].prototypes
    kept = stored(prototypes)
    levels = np.frombuffer(base64.b64decode(kept["bytes"]), np.uint8)
    levels = levels.reshape(kept["shape"]).astype(float)
    restored = levels * kept["step"] + kept["low"]
    steps = np.array(kept["step"])
    assert (np.abs(restored - prototypes) <= 0.5 * steps + 1e-6).all()
    assert stored(np.zeros((2, 2, 1), np.float32))["low"] == [0.0]


def test_names_cannot_end_the_data(scene):
    page = page_of(scene)
    assert page.count("</script>") == 2
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    data = json.loads(found.group(1))
    assert data["detections"][0]["name"] == NASTY
    assert [d["anchor"] for d in data["detections"]] == [3, 8]
    assert not json.loads(
        re.search(r'id="data">(.*?)</script>', page_of(scene, 0.95)).group(1)
    )["detections"]


@pytest.mark.parametrize("seed", range(3))
def test_suppressed_and_kept_are_all_candidates(seed):
    generator = np.random.default_rng(seed)
    count, num_classes = 60, 3
    anchors = np.concatenate(
        [generator.uniform(0.3, 0.7, (count, 2)), np.full((count, 2), 0.3)], 1
    ).astype(np.float32)
    logits = 3 * generator.normal(size=(count, num_classes + 1)).astype(np.float32)
    predictions = Predictions(
        box_deltas=np.zeros((count, 4), np.float32),
        class_logits=logits,
        coefficients=np.zeros((count, 2), np.float32),
        prototypes=np.zeros((4, 4, 2), np.float32),
    )
    limits = {"score_threshold": 0.2, "iou_threshold": 0.5, "top_k": 20}
    dropped = find_suppressed(predictions, anchors, **limits, most=1000)
    exponents = np.exp(logits)
    scores = (exponents / exponents.sum(axis=1, keepdims=True))[:, 1:]
    boxes = np.concatenate(
        [anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2], 1
    )
    kept = fast_nms(jnp.array(boxes), jnp.array(scores), **limits, max_detections=1000)
    valid = np.asarray(kept.valid)
    of_kept = {
        (int(a), int(c))
        for a, c in zip(
            np.asarray(kept.anchor_index)[valid],
            np.asarray(kept.labels)[valid],
            strict=True,
        )
    }
    of_dropped = {(one.anchor, one.label) for one in dropped}
    assert len(of_dropped) == len(dropped) > 5
    assert not of_kept & of_dropped
    entered = np.flatnonzero(scores.max(axis=1) > 0.2)
    every = set()
    for label in range(num_classes):
        best = sorted(entered, key=lambda a, c=label: -scores[a, c])[:20]
        every |= {(int(a), label) for a in best}
    # All that entered is kept or dropped.
    assert of_kept | of_dropped == every
    for one in dropped:
        assert scores[one.by, one.label] >= scores[one.anchor, one.label]
        assert one.overlap > 0.5

"""Instances: selecting, and every form in which results leave."""

import json
import sys
import types

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from yolact_jax.data import importers
from yolact_jax.results import outlines
from yolact_jax.results.instances import Instances

NAMES, IDS = ("cat", "dog", "cow"), (7, 8, 21)


def boxes_of(masks):
    rects = [cv2.boundingRect(mask.astype(np.uint8)) for mask in masks]
    return np.array([[x, y, x + w, y + h] for x, y, w, h in rects], np.float32)


def blobs(height=60, width=83, count=3, seed=0):
    """Filled ellipses, the second in two parts."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), np.uint8)
    for mask in masks:
        center = [int(v) for v in rng.integers(15, 40, 2)]
        axes = [int(v) for v in rng.integers(4, 14, 2)]
        cv2.ellipse(mask, center, axes, int(rng.integers(90)), 0, 360, 1, -1)
    masks[1, 50:55, 70:80] = 1
    return masks.astype(bool)


def make(masks=None, **options):
    masks = blobs() if masks is None else masks
    count = len(masks)
    return Instances(
        boxes_of(masks).reshape(-1, 4),
        np.linspace(0.9, 0.3, count, dtype=np.float32),
        np.arange(count, dtype=np.int32) % 3,
        masks,
        class_names=NAMES,
        category_ids=IDS,
        **options,
    )


def image_of(instances):
    rng = np.random.default_rng(1)
    return rng.integers(0, 255, (*instances.packed.size, 3), dtype=np.uint8)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 83])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_masks_come_back_whatever_the_width(count, width):
    masks = np.random.default_rng(0).random((count, 5, width)) > 0.5
    found = Instances(
        np.zeros((count, 4)), np.zeros(count), np.zeros(count, int), masks
    )
    np.testing.assert_array_equal(found.masks, masks)
    assert found.masks.dtype == bool
    for one, mask in zip(found, masks, strict=True):
        np.testing.assert_array_equal(one.masks[0], mask)
    with pytest.raises(ValueError, match="read-only"):
        found.masks[:] = True


def test_large_masks_take_the_memory_of_their_objects():
    shape = 5, 901, 1003
    masks = np.zeros(shape, bool)
    places = [(0, 9, 0, 1), (900, 901, 1002, 1003), (5, 800, 700, 709), (3, 4, 8, 16)]
    for mask, (top, bottom, left, right) in zip(masks, places, strict=False):
        mask[top:bottom, left:right] = True
    packed = make(masks).packed
    np.testing.assert_array_equal(packed.unpack(), masks)
    np.testing.assert_array_equal(np.stack([*packed]), masks)
    for (top, left, part), mask in zip(packed.parts(), masks, strict=True):
        window = mask[top : top + part.shape[0], left : left + part.shape[1]]
        np.testing.assert_array_equal(part, window)
        assert part.sum() == mask.sum()
    sizes = [window.rows.size for window in packed.windows]
    assert sizes == [9, 1, 2 * 795, 1, 0]


@pytest.mark.parametrize(
    "index",
    [
        slice(1, None),
        slice(None, None, -1),
        [2, 0],
        [],
        np.array([True, False, True]),
        [False, False, False],
        np.array([-1]),
    ],
)
def test_selection_is_that_of_numpy_in_every_field(index):
    found = make(mask_scores=np.array([0.1, 0.5, 0.2], np.float32))
    selected = found[index]
    is_empty = isinstance(index, list) and not index
    picked = np.array([0, 1, 2])[np.zeros(0, int) if is_empty else index]
    assert len(selected) == len(picked)
    for field in ("boxes_px", "scores", "labels", "masks", "mask_scores"):
        expected = getattr(found, field)[picked]
        np.testing.assert_array_equal(getattr(selected, field), expected)
    assert selected.names == [NAMES[i] for i in picked]


def test_a_number_selects_one_object():
    found = make()
    assert found[-1].names == found[np.int64(2)].names == ["cow"]
    assert [one.names for one in found] == [["cat"], ["dog"], ["cow"]]
    assert repr(found) == "Instances(['cat', 'dog', 'cow'] in 83 x 60 pixels)"
    for index in (3, -4, [5], np.array([True, False])):
        with pytest.raises(IndexError):
            found[index]


def test_run_lengths_are_those_of_pycocotools():
    found = make()
    assert all(isinstance(rle["counts"], str) for rle in found.rles())
    decoded = np.stack([coco_mask.decode(rle) for rle in found.rles()])
    np.testing.assert_array_equal(decoded, found.masks)


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24))
def test_rings_enclose_exactly_the_mask_with_its_holes_filled(seed, height, width):
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < rng.uniform(0.1, 0.9)
    rings = outlines.rings(mask)
    # Background that is joined to the outside by edges of pixels is no hole.
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, part = cv2.connectedComponents(outside, connectivity=4)
    filled = part[1:-1, 1:-1] != part[0, 0]
    doubled_area = 0.0
    for ring in rings:
        assert ring.dtype == np.float32
        x, y = ring.astype(float).T
        doubled_area += abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert doubled_area == 2 * filled.sum()
    if rings:
        polygons = [ring.ravel().tolist() for ring in rings]
        code = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        np.testing.assert_array_equal(coco_mask.decode(code), filled)


def test_polygons_have_a_ring_for_every_part_and_corners_only():
    polygons = make().polygons()
    assert [len(rings) for rings in polygons] == [1, 2, 1]
    square = [sorted(r.tolist()) for r in polygons[1] if len(r) == 4]
    assert square == [[[70, 50], [70, 55], [80, 50], [80, 55]]]
    filled = np.zeros((60, 83), np.uint8)
    cv2.fillPoly(filled, [r.astype(np.int32) for r in polygons[0]], 1)
    mask = make().masks[0]
    # fillPoly paints the edge, too: a pixel more to the right and below.
    assert (filled & mask).sum() == mask.sum()


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_coco_annotations_give_back_masks_and_areas(segmentation):
    found = make()
    entries = json.loads(json.dumps(found.to_coco(5, segmentation=segmentation)))
    assert [entry["id"] for entry in entries] == [1, 2, 3]
    assert [entry["category_id"] for entry in entries] == list(IDS)
    for entry, mask, score in zip(entries, found.masks, found.scores, strict=True):
        code = entry["segmentation"]
        if segmentation == "polygons":
            code = coco_mask.merge(coco_mask.frPyObjects(code, *mask.shape))
        np.testing.assert_array_equal(coco_mask.decode(code), mask)
        assert entry["area"] == mask.sum() == coco_mask.area(code)
        assert entry["bbox"] == list(cv2.boundingRect(mask.astype(np.uint8)))
        assert (entry["image_id"], entry["iscrowd"]) == (5, 0)
        assert entry["score"] == pytest.approx(score)
    with pytest.raises(ValueError, match="`segmentation` is 'png'; it must be 'rle'"):
        found.to_coco(segmentation="png")


def test_empty_objects_are_no_annotations():
    masks = blobs()
    masks[0] = False
    found = make(masks)
    assert [e["category_id"] for e in found.to_coco(first_id=4)] == [8, 21]
    assert [e["id"] for e in found.to_coco(first_id=4)] == [4, 5]
    assert found.polygons()[0] == []
    assert [crop.shape[2] for crop in make(masks, image=image_of(found)).crops()]


def test_labelme_file_is_read_back_with_the_same_masks(tmp_path):
    found = make()
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), image_of(found))
    content = json.dumps(found.to_labelme("a.png"))
    (tmp_path / "labels" / "a.json").write_text(content)
    read = importers.from_labelme(tmp_path / "labels", tmp_path / "images").content
    names = {c["id"]: c["name"] for c in read["categories"]}
    assert len(read["annotations"]) == 3
    for entry in read["annotations"]:
        number = NAMES.index(names[entry["category_id"]])
        code = coco_mask.merge(coco_mask.frPyObjects(entry["segmentation"], 60, 83))
        np.testing.assert_array_equal(coco_mask.decode(code), found.masks[number])
    with pytest.raises(ValueError, match="`image_path` must be given"):
        found.to_labelme()


def test_supervision_gets_what_it_needs_or_is_named(monkeypatch):
    stand_in = types.ModuleType("supervision")
    stand_in.Detections = lambda **fields: fields
    monkeypatch.setitem(sys.modules, "supervision", stand_in)
    fields = make().to_supervision()
    assert fields["xyxy"].shape == (3, 4)
    assert fields["mask"].shape == (3, 60, 83)
    assert fields["class_id"].tolist() == [0, 1, 2]
    assert fields["data"]["class_name"].tolist() == list(NAMES)
    np.testing.assert_array_equal(fields["confidence"], make().scores)
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ValueError, match=r"pip install .yolact_jax\[supervision\]"):
        make().to_supervision()


def test_crops_hold_the_pixels_of_the_object():
    image = image_of(make())
    found = make(image=image)
    for crop, mask in zip(found.crops(), found.masks, strict=True):
        assert (crop[..., 3] == 255).sum() == mask.sum()
        np.testing.assert_array_equal(crop[crop[..., 3] == 255, :3], image[mask])
    (x1, y1, x2, y2), *_ = found.boxes_px.astype(int)
    np.testing.assert_array_equal(found.crops(background=True)[0], image[y1:y2, x1:x2])


@pytest.mark.parametrize("background", [False, True])
def test_crops_of_boxes_without_area_have_pixels(background):
    height, width = 20, 30
    corners = [(30, 5, 30, 9), (3, 20, 8, 20), (30, 20, 30, 20), (0, 0, 0, 0)]
    image = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    found = Instances(
        np.array(corners, np.float32),
        np.ones(4, np.float32),
        np.zeros(4, int),
        np.zeros((4, height, width), bool),
        image=image,
    )
    crops = found.crops(background=background)
    assert [crop.shape[:2] for crop in crops] == [(4, 1), (1, 5), (1, 1), (1, 1)]
    np.testing.assert_array_equal(crops[0][..., :3], image[5:9, 29:])
    np.testing.assert_array_equal(crops[1][..., :3], image[19:, 3:8])


def test_drawing_is_written_whole_and_never_over_the_image(tmp_path):
    source = tmp_path / "a.png"
    image = image_of(make())
    cv2.imwrite(str(source), image[..., ::-1])
    found = make(image=image, source=source)
    found.save(tmp_path / "deep" / "out.png")
    picture = cv2.imread(str(tmp_path / "deep" / "out.png"))[..., ::-1]
    np.testing.assert_array_equal(picture, found.draw())
    assert (picture != image).any()
    shown = cv2.imdecode(np.frombuffer(found._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(shown[..., ::-1], picture)
    found.save(tmp_path / "out.JPG")
    assert (tmp_path / "out.JPG").read_bytes()[:2] == b"\xff\xd8"
    before = source.read_bytes()
    with pytest.raises(ValueError, match="is the image itself"):
        found.save(source)
    assert source.read_bytes() == before
    with pytest.raises(ValueError, match=r"`path` ends in '.gif'; it must end in"):
        found.save(tmp_path / "x.gif")


def test_without_an_image_drawing_is_explained():
    found = make()
    assert found._repr_png_() is None
    for use in (found.draw, found.crops):
        with pytest.raises(ValueError, match=r"call yolact_jax.draw\(image, instances"):
            use()

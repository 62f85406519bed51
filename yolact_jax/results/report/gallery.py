"""The worst errors of each kind as cut-outs, with the objects beside them."""

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from yolact_jax.results.draw import PALETTE, encode_picture, image_grid
from yolact_jax.results.errors.scenes import truth_rle
from yolact_jax.results.errors.tide import HIT, KINDS
from yolact_jax.results.report.numbers import Evaluated

ReadImage = Callable[[int], np.ndarray]
"""From the id of an image to its pixels, [height, width, 3] uint8 RGB."""

EXHIBITED = (*KINDS[:2], "near miss", "leak", *KINDS[2:])
"""Kinds of exhibits, in the order of the page."""

_PER_KIND = 6
_SIDE_PX = 300
_MARGIN = 0.35
_LEAST_WINDOW_PX = 24
_STRIDE = 5  # neighbors in the palette look alike


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """One error as a picture.

    Attributes:
      kind: of the error.
      caption: what it is.
      jpeg: the detection on the left, the objects on the right.
    """

    kind: str
    caption: str
    jpeg: bytes


def make_gallery(evaluated: Evaluated, read_image: ReadImage) -> list[Exhibit]:
    """Cuts out the errors with the highest scores, and the largest missed objects."""
    exhibits = [
        _detection(evaluated, read_image, kind, int(row))
        for kind, rows in _worst(evaluated).items()
        for row in rows
    ]
    return exhibits + _missed(evaluated, read_image)


def _worst(evaluated: Evaluated) -> dict[str, np.ndarray]:
    """Rows of the worst detections of each kind: by score, or by how near they are."""
    errors = evaluated.errors["mask"]
    worst = {
        kind: _first(errors.kinds == kind, errors.matches.scores)
        for kind in KINDS
        if kind != "missed"
    }
    own, other = _nearness(evaluated)
    near = _first(errors.kinds == "localization", own)
    leaks = _first((errors.kinds == HIT) & (other > 0), other)
    return worst | {"near miss": near, "leak": leaks}


def _first(chosen: np.ndarray, values: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(chosen)
    return rows[np.argsort(-values[rows], kind="stable")[:_PER_KIND]]


def _nearness(evaluated: Evaluated) -> tuple[np.ndarray, np.ndarray]:
    """[N] IoU of each mask with what it is corrected to, and [N] second largest IoU."""
    errors = evaluated.errors["mask"]
    matches = errors.matches
    result = np.zeros((2, len(matches.image)))
    for row, target in enumerate(errors.target):
        scene = evaluated.scenes["mask"][matches.image[row]]
        overlaps = scene.overlaps[matches.place[row]]
        if target >= 0:
            result[0, row] = overlaps[matches.truth_place[target]]
        result[1, row] = np.sort(np.append(overlaps[~scene.crowd], [0, 0]))[-2]
    return result[0], result[1]


def _detection(
    evaluated: Evaluated, read_image: ReadImage, kind: str, row: int
) -> Exhibit:
    matches = evaluated.errors["mask"].matches
    number = int(matches.image[row])
    scene = evaluated.scenes["mask"][number]
    entries = _entries(evaluated, "results", scene.image_id)
    entry = entries[int(matches.place[row])]
    name = evaluated.names[int(matches.labels[row])]
    overlap = scene.overlaps[matches.place[row]].max(initial=0.0)
    mask = coco_mask.decode(entry["segmentation"]).astype(bool)
    caption = f"{name} {entry['score']:.2f}, IoU {overlap:.2f}, image {scene.image_id}"
    jpeg = _picture(evaluated, read_image, scene.image_id, mask, found=True)
    return Exhibit(kind, caption, jpeg)


def _missed(evaluated: Evaluated, read_image: ReadImage) -> list[Exhibit]:
    errors = evaluated.errors["mask"]
    matches, scenes = errors.matches, evaluated.scenes["mask"]
    rows = np.flatnonzero(errors.missed)
    places = [(int(matches.truth_image[r]), int(matches.truth_place[r])) for r in rows]
    areas = np.array([scenes[i].truth_areas[p] for i, p in places])
    exhibits = []
    for index in np.argsort(-areas, kind="stable")[:_PER_KIND]:
        number, place = places[index]
        image_id = scenes[number].image_id
        annotation = _entries(evaluated, "annotations", image_id)[place]
        size = _size(evaluated, image_id)
        mask = coco_mask.decode(truth_rle(annotation, size)).astype(bool)
        name = evaluated.names[int(scenes[number].truth_labels[place])]
        caption = f"{name}, {areas[index]:.0f} square pixels, image {image_id}"
        jpeg = _picture(evaluated, read_image, image_id, mask, found=False)
        exhibits.append(Exhibit("missed", caption, jpeg))
    return exhibits


def _entries(evaluated: Evaluated, what: str, image_id: int) -> list[dict]:
    """Annotations or masks of an image, in the order of its scene."""
    every = (
        evaluated.truth["annotations"]
        if what == "annotations"
        else evaluated.results["mask"]
    )
    return [entry for entry in every if entry["image_id"] == image_id]


def _size(evaluated: Evaluated, image_id: int) -> tuple[int, int]:
    (image,) = (i for i in evaluated.truth["images"] if i["id"] == image_id)
    return image["height"], image["width"]


def _picture(
    evaluated: Evaluated,
    read_image: ReadImage,
    image_id: int,
    mask: np.ndarray,
    *,
    found: bool,
) -> bytes:
    """JPEG of a detected mask and the objects around it, or of a missed object."""
    image = read_image(image_id)
    truths = [
        coco_mask.decode(truth_rle(a, mask.shape[:2])).astype(bool)
        for a in _entries(evaluated, "annotations", image_id)
    ]
    # A missed object stands alone, and nothing beside it.
    halves = ([mask], truths) if found else ([], [mask])
    return cut_out(image, mask, *halves)


def cut_out(
    image: np.ndarray,
    around: np.ndarray,
    left: Sequence[np.ndarray],
    right: Sequence[np.ndarray],
) -> bytes:
    """Draws the part of an image around a mask twice, with masks; JPEG.

    Args:
      image: [height, width, 3] uint8 RGB.
      around: [height, width] bool.
      left: masks of the left picture, [height, width] bool each.
      right: masks of the right picture.
    """
    window = _window(around)
    halves = [
        _drawn(image[window], [m[window] for m in half]) for half in (left, right)
    ]
    return encode_picture(image_grid(halves, 2, margin=4), ".jpg")


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """The part of an image around a mask; all of it if the mask is empty."""
    sides = []
    for axis in (1, 0):
        used = np.flatnonzero(mask.any(axis=axis))
        size = mask.shape[1 - axis]
        if not len(used):
            sides.append(slice(0, size))
            continue
        first, last = int(used[0]), int(used[-1]) + 1
        margin = max(int(_MARGIN * (last - first)), _LEAST_WINDOW_PX // 2)
        sides.append(slice(max(first - margin, 0), min(last + margin, size)))
    return sides[0], sides[1]


def _drawn(image: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Tints and outlines masks on a part of an image, [h, w, 3] uint8 RGB."""
    scale = _SIDE_PX / max(image.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    picture = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    for number, mask in enumerate(masks):
        color = PALETTE[_STRIDE * number % len(PALETTE)].tolist()
        large = cv2.resize(mask.astype(np.float32), size) > 0.5
        picture[large] = (0.6 * picture[large] + 0.4 * np.array(color)).astype(np.uint8)
        rings, _ = cv2.findContours(
            large.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        # White on black shows on any color.
        for line, width in (((0, 0, 0), 4), ((255, 255, 255), 2)):
            cv2.drawContours(picture, rings, -1, line, width, cv2.LINE_AA)
    return picture

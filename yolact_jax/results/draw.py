"""Pictures of detected instances: translucent masks, boxes and labels."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from yolact_jax.files import replacing
from yolact_jax.results.labels import draw_labels, unit_px

if TYPE_CHECKING:
    from yolact_jax.results.instances import Instances

_HEX_COLORS = (
    "f44336 e91e63 9c27b0 673ab7 3f51b5 2196f3 03a9f4 00bcd4 009688 4caf50"
    "8bc34a cddc39 ffeb3b ffc107 ff9800 ff5722 795548 9e9e9e 607d8b"
)
PALETTE = np.frombuffer(bytes.fromhex(_HEX_COLORS), np.uint8).reshape(-1, 3)
"""[19, 3] uint8 RGB, the Material Design colours that the original draws with."""

_GRAY = np.full(3, 160, np.uint8)
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_PALETTE_STRIDE = 5  # neighbours in the palette look alike, so ranks jump
_MAX_LABELED = 25


def draw_instances(
    image: np.ndarray,
    instances: "Instances",
    class_names: Sequence[str] | None = None,
    *,
    score_threshold: float = 0.3,
    max_instances: int | None = None,
    color_by: str = "rank",
    scale: float = 1.0,
    mask_alpha: float = 0.45,
    boxes: bool = True,
    labels: bool | None = None,
) -> np.ndarray:
    """Draws instances over their image, the highest score on top.

        >>> picture = yolact_jax.draw(image, result, mask_alpha=0.6)

    Lines and text grow with the picture. Small images gain from ``scale``: at 3, one of
    128 pixels is drawn at 384, with sharp text and smooth outlines.

    Args:
      image: [h, w, 3] uint8 RGB, not modified.
      instances: Objects of the image, boxes and masks at its size.
      class_names: Name of every label; None takes those of the instances.
      score_threshold: Instances with a lower score are left out.
      max_instances: How many are drawn at most, best first; None draws all.
      color_by: "rank" gives every instance another of the 19 colors; for video,
        "class" gives those of one class the same, and "track" those of one track, whose
        number it adds to the label; objects on no track are gray.
      scale: Enlargement of the picture before drawing.
      mask_alpha: Opacity of the masks, 0 (invisible) to 1.
      boxes: Whether to draw the boxes.
      labels: Whether to draw class name and score; None draws them for up to 25
        instances, beyond which they would hide the picture.

    Returns:
      [round(h * scale), round(w * scale), 3] uint8 RGB.

    Raises:
      ValueError: If the image is not uint8 RGB, a mask has another size, a label has no
        name, ``color_by`` is unknown, or the instances have no tracks to color by.
    """
    class_names = class_names or instances.class_names or _numbers(instances.labels)
    _check(image, instances, class_names, color_by)
    order = np.argsort(-instances.scores, kind="stable")
    order = order[instances.scores[order] >= score_threshold][:max_instances]
    scores, classes = instances.scores[order], instances.labels[order]
    picture = _enlarge(image, scale)
    tracks = instances.track_ids if color_by == "track" else None
    tracks = None if tracks is None else tracks[order]
    keys = {"rank": range(len(order)), "class": classes, "track": tracks}[color_by]
    colors = [_color(int(key)) for key in keys]
    # One unpacked mask at a time, the best on top.
    masks = instances.packed[order[::-1]]
    for mask, color in zip(masks, reversed(colors), strict=True):
        _paint_mask(picture, mask, color, mask_alpha)
    boxes_px = np.round(instances.boxes_px[order] * scale).astype(int).tolist()
    if boxes:
        for box, color in reversed([*zip(boxes_px, colors, strict=True)]):
            _draw_box(picture, box, color)
    if labels is None:
        labels = len(order) <= _MAX_LABELED
    if labels:
        named = zip(classes, scores, strict=True)
        texts = [f"{class_names[label]} {score:.2f}" for label, score in named]
        if tracks is not None:
            texts = [
                f"#{track} {text}" if track >= 0 else text
                for track, text in zip(tracks, texts, strict=True)
            ]
        draw_labels(picture, texts, boxes_px, colors)
    return picture


def image_grid(
    images: Sequence[np.ndarray],
    columns: int,
    *,
    margin: int = 8,
    background: tuple[int, int, int] = (255, 255, 255),
) -> np.ndarray:
    """Tiles pictures row by row; smaller ones are centered in their cell.

    Args:
      images: Pictures of any size, each [h, w, 3] uint8 RGB.
      columns: Pictures in a row; the last row may have fewer.
      margin: Pixels between pictures; there is none around the grid.
      background: RGB color behind the pictures.

    Returns:
      [height, width, 3] uint8 RGB.

    Raises:
      ValueError: If there are no images, one is not uint8 RGB, or ``columns`` is 0.
    """
    if min(len(images), columns) < 1:
        got = f"{len(images)} images and {columns} columns"
        raise ValueError(f"image_grid got {got}, must be at least 1 of each.")
    for i, image in enumerate(images):
        _check_rgb(image, f"images[{i}]")
    columns = min(columns, len(images))
    rows = [images[i : i + columns] for i in range(0, len(images), columns)]
    heights = [max(image.shape[0] for image in row) for row in rows]
    widths = [max(im.shape[1] for im in images[c::columns]) for c in range(columns)]
    tops = np.cumsum([0, *(height + margin for height in heights)])
    lefts = np.cumsum([0, *(width + margin for width in widths)])
    grid = np.empty((tops[-1] - margin, lefts[-1] - margin, 3), np.uint8)
    grid[:] = background
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        height, width = image.shape[:2]
        top = tops[row] + (heights[row] - height) // 2
        left = lefts[column] + (widths[column] - width) // 2
        grid[top : top + height, left : left + width] = image
    return grid


def write_picture(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes [h, w, 3] uint8 RGB to a .png, .jpg or .jpeg file, all or nothing.

    Raises:
      ValueError: If the image is not uint8 RGB, or the path ends in something else.
    """
    data = encode_picture(image, Path(path).suffix)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def encode_picture(image: np.ndarray, suffix: str) -> bytes:
    """Encodes [h, w, 3] uint8 RGB in the format of a suffix, see `write_picture`."""
    _check_rgb(image, "image")
    if suffix.lower() not in _PICTURE_SUFFIXES:
        raise ValueError(
            f"`path` ends in {suffix!r}; it must end in {', '.join(_PICTURE_SUFFIXES)}."
        )
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return data.tobytes()


def _numbers(labels: np.ndarray) -> list[str]:
    return [str(label) for label in range(labels.max(initial=-1) + 1)]


def _check(image, instances, class_names, color_by) -> None:
    _check_rgb(image, "image")
    size, allowed = instances.packed.size, image.shape[:2]
    if size != allowed and len(instances):
        raise ValueError(f"instances.masks are {size}, must be {allowed} as the image.")
    bad = [int(i) for i in instances.labels if not 0 <= i < len(class_names)]
    if bad:
        allowed = f"labels 0 to {len(class_names) - 1}"
        raise ValueError(f"label {bad[0]} is not in class_names, which has {allowed}.")
    if color_by not in ("rank", "class", "track"):
        allowed = "'rank', 'class' or 'track'"
        raise ValueError(f"color_by is {color_by!r}, must be {allowed}.")
    if color_by == "track" and instances.track_ids is None:
        raise ValueError("color_by is 'track', but the instances have no track_ids.")


def _color(key: int) -> np.ndarray:
    """[3] uint8 RGB of a number from 0; gray for others."""
    return PALETTE[_PALETTE_STRIDE * key % len(PALETTE)] if key >= 0 else _GRAY


def _check_rgb(image: np.ndarray, name: str) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{name} is {image.dtype} {image.shape}, not uint8 [h, w, 3].")


def _enlarge(image: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return image.copy()
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    kernel = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return cv2.resize(image, size, interpolation=kernel)


def _soft_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes a bool mask to [height, width] float32 opacity without stairs."""
    scale = height / mask.shape[0]
    opacity = mask.astype(np.float32)
    opacity = cv2.resize(opacity, (width, height), interpolation=cv2.INTER_LINEAR)
    opacity = cv2.GaussianBlur(opacity, (0, 0), 0.75 * max(scale, 1))
    # The blur spreads the edge over about 2 * scale pixels; make it one pixel again.
    return np.clip((opacity - 0.5) * 1.5 * scale + 0.5, 0, 1)


def _paint_mask(picture, mask, color, alpha) -> None:
    """Blends color over the mask, in place, and draws a stronger outline."""
    same_size = mask.shape == picture.shape[:2]
    whole = mask if same_size else _soft_mask(mask, *picture.shape[:2])
    x, y, width, height = cv2.boundingRect((whole > 0).view(np.uint8))
    window = slice(y, y + height), slice(x, x + width)
    opacity = whole[window].astype(np.float32)  # Of the window alone, for large masks.
    inside = (opacity > 0.5).astype(np.uint8)
    if not inside.size:
        return
    outlines, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outline = np.zeros(inside.shape, np.uint8)
    thickness = max(1, round(unit_px(picture) / 240))
    cv2.drawContours(outline, outlines, -1, 255, thickness, cv2.LINE_AA)
    weight = np.maximum(alpha * opacity, 0.9 * (outline / 255.0))[..., None]
    blended = picture[window] * (1 - weight) + weight * color
    picture[window] = np.round(blended).astype(np.uint8)


def _draw_box(picture, box, color) -> None:
    x1, y1, x2, y2 = box
    thickness = max(1, round(unit_px(picture) / 450))
    # x2 and y2 are the first column and row behind the box.
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), color.tolist(), thickness)

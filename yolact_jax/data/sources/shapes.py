"""Pictures of simple shapes with exact masks, a pure function of (seed, index)."""

import dataclasses

import numpy as np

from yolact_jax.data.sources import textures

# Label i is the i-th name.
CLASS_NAMES = ("circle", "rectangle", "triangle", "star", "ring")

# Diameters, as fractions of the side of the picture.
_MIN_DIAMETER, _MAX_DIAMETER = 0.15, 0.55
_MAX_OBJECTS = 6
_MIN_VISIBLE_FRACTION = 0.3
_MIN_VISIBLE_PX = 16
_TRIALS = 8
# Colors of an object and of what it covers differ by at least this, of 255.
_MIN_CONTRAST = 60.0
# No shape is larger than this, in radii: the corners of rectangles are the farthest.
_REACH = 1.36


@dataclasses.dataclass(frozen=True)
class ShapesImage:
    """A picture and its n objects; everything drawn is annotated.

    Attributes:
      image: [size, size, 3] uint8 RGB.
      labels: [n] int32, indices into `CLASS_NAMES`.
      masks: [n, size, size] bool, the visible pixels of each object: those whose
        center is inside it and in no later object.
      boxes_px: [n, 4] float64, (x1, y1, x2, y2), tight around the masks.
    """

    image: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    boxes_px: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Outline:
    """A shape somewhere in a picture.

    Attributes:
      window: rows and columns that it touches.
      distance: [h, w] float32, signed distance of the pixel centers in the window to
        the outline, pixels; negative inside.
    """

    window: tuple[slice, slice]
    distance: np.ndarray


def draw_shapes(seed: int, index: int, *, image_size: int = 128) -> ShapesImage:
    """Draws picture `index` of the series `seed`: 1 to 6 objects, which may overlap.

    Args:
      seed: of the series, at least 0.
      index: of the picture, at least 0.
      image_size: height and width, pixels; at least 32.

    Raises:
      ValueError: if the picture would be too small to show the shapes.
    """
    if image_size < 32:
        raise ValueError(f"`image_size` is {image_size}; it must be at least 32.")
    rng = np.random.default_rng([seed, index])
    image = textures.background(rng, image_size)
    labels, areas_px = [], []
    masks = np.zeros((0, image_size, image_size), bool)
    wanted = int(rng.integers(1, _MAX_OBJECTS + 1))
    while len(labels) < wanted:
        label = int(rng.integers(len(CLASS_NAMES)))
        placed = _place(rng, label, masks, np.array(areas_px), image_size)
        if placed is not None:
            outline, masks = placed
            _paint(image[outline.window], outline.distance, rng)
            labels.append(label)
            areas_px.append(masks[-1].sum())
        elif labels:  # A crowded picture may have no place for another object.
            break
    return ShapesImage(
        image=np.clip(np.rint(image), 0, 255).astype(np.uint8),
        labels=np.array(labels, np.int32),
        masks=masks,
        boxes_px=tight_boxes(masks),
    )


def _place(
    rng: np.random.Generator,
    label: int,
    masks: np.ndarray,
    areas_px: np.ndarray,
    size: int,
) -> tuple[_Outline, np.ndarray] | None:
    """Finds a place that leaves enough of every object visible."""
    least_px = np.maximum(_MIN_VISIBLE_FRACTION * areas_px, _MIN_VISIBLE_PX)
    for _ in range(_TRIALS):
        outline = _random_outline(rng, label, size)
        mask = np.zeros((size, size), bool)
        mask[outline.window] = outline.distance < 0
        uncovered = masks & ~mask
        visible_px = np.count_nonzero(uncovered, axis=(1, 2))
        if (visible_px >= least_px).all() and mask.sum() >= _MIN_VISIBLE_PX:
            return outline, np.concatenate([uncovered, mask[None]])
    return None


def tight_boxes(masks: np.ndarray) -> np.ndarray:
    """Returns the boxes around [n, h, w] bool masks, none of them empty.

    They are [n, 4] float64, (x1, y1, x2, y2) in pixels, around whole pixels.
    """
    columns, rows = np.any(masks, axis=1), np.any(masks, axis=2)
    low = [columns.argmax(axis=1), rows.argmax(axis=1)]
    high = [
        columns.shape[1] - columns[:, ::-1].argmax(axis=1),
        rows.shape[1] - rows[:, ::-1].argmax(axis=1),
    ]
    return np.stack(low + high, axis=1).astype(np.float64)


def _random_outline(rng: np.random.Generator, label: int, size: int) -> _Outline:
    """Draws size, place and rotation; the center is inside the picture."""
    radius = rng.uniform(_MIN_DIAMETER, _MAX_DIAMETER) / 2
    x, y = rng.uniform(radius / 2, 1 - radius / 2, 2)
    angle = rng.uniform(0, 2 * np.pi)
    reach = _REACH * radius + 1 / size
    down, right = (
        slice(max(0, int((c - reach) * size)), min(size, int((c + reach) * size) + 1))
        for c in (y, x)
    )
    centers = (np.arange(size, dtype=np.float32) + 0.5) / size
    dy = centers[down, None] - np.float32(y)
    dx = centers[None, right] - np.float32(x)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    distances = _DISTANCES[label](u, v, radius, rng) * np.float32(size)
    return _Outline((down, right), distances)


# The distances below are exact in sign, and near the outline also in value; lengths
# are fractions of the side of the picture.


def _circle(u, v, radius, rng):
    return np.sqrt(u * u + v * v) - np.float32(radius)


def _rectangle(u, v, radius, rng):
    width, height = radius * np.array([1.0, rng.uniform(0.35, 0.9)], np.float32)
    return np.maximum(np.abs(u) - width, np.abs(v) - height)


def _triangle(u, v, radius, rng):
    return _polygon(u, v, radius * rng.uniform(0.5, 0.65), 3)


def _polygon(u, v, inner_radius, sides):
    """Largest distance to the lines through the sides of a regular polygon."""
    angles = 2 * np.pi * np.arange(sides) / sides
    lines = [
        np.float32(np.cos(angle)) * u + np.float32(np.sin(angle)) * v
        for angle in angles
    ]
    return np.maximum.reduce(lines) - np.float32(inner_radius)


def _star(u, v, radius, rng):
    """Five points; folded into half a point, the outline is one line."""
    tip = np.float32(radius)
    notch = np.float32(radius * rng.uniform(0.42, 0.5))
    distance = np.sqrt(u * u + v * v)
    half = np.float32(np.pi / 5)
    turned = np.abs((np.arctan2(v, u) + half) % (2 * half) - half)
    # From the tip at angle 0 to the notch at angle `half`.
    x, y = distance * np.cos(turned), distance * np.sin(turned)
    along_x, along_y = notch * np.cos(half) - tip, notch * np.sin(half)
    length = np.sqrt(along_x**2 + along_y**2)
    return ((x - tip) * along_y - y * along_x) / length


def _ring(u, v, radius, rng):
    """A disc with a hole, through which the background is visible."""
    half_width = np.float32(radius * rng.uniform(0.15, 0.25))
    middle = np.float32(radius) - half_width
    return np.abs(np.sqrt(u * u + v * v) - middle) - half_width


_DISTANCES = (_circle, _rectangle, _triangle, _star, _ring)


def _paint(image: np.ndarray, distance: np.ndarray, rng: np.random.Generator) -> None:
    """Paints an object with smooth edges over a part of a picture."""
    behind = image[distance < 0].mean(axis=0)
    paint = textures.surface(rng, image.shape[:2], _contrasting(behind, rng))
    # A slightly darker rim separates touching objects of similar color.
    rim = np.clip((distance + 2.5) / 2.0, 0.0, 1.0)
    cover = np.clip(0.5 - distance, 0.0, 1.0)[..., None]
    paint *= 1.0 - 0.35 * rim[..., None]
    image += cover * (paint - image)


def _contrasting(behind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws a color far enough from another one."""
    while True:
        color = rng.uniform(30, 235, 3)
        if np.abs(color - behind).max() >= _MIN_CONTRAST:
            return color.astype(np.float32)

"""Makes the pictures of docs/video.md with a model of shapes.

    python benchmarks/demo_pictures.py --run=runs/shapes --output=docs

The clip shows shapes that cross; the large picture has many small ones, some of them on
the borders of tiles.
"""

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import av
import numpy as np
from absl import app, flags

import yolact_jax
from yolact_jax.data.sources import textures
from yolact_jax.data.sources.shapes import draw_shapes
from yolact_jax.results.draw import image_grid, write_picture

_RUN = flags.DEFINE_string("run", "runs/shapes", "A trained run of configs/shapes.py.")
_OUTPUT = flags.DEFINE_string("output", "docs", "Folder for the pictures.")
_SEED = 2
_SIDE = 256
_FRAMES = 48
_SHOWN = (8, 24, 40)
_TILE = 128  # what the model was trained on
_LARGE_SIDE = 512
_LEAST_SCORE = 0.4


def cut_outs(count: int, side: int, kinds: int) -> list[np.ndarray]:
    """Cuts whole shapes out of generated pictures, [h, w, 4] uint8 RGBA.

    Args:
      count: how many.
      side: of the pictures, pixels.
      kinds: how many in a row have different classes.
    """
    shapes, labels, index = [], [], 0
    while len(shapes) < count:
        picture = draw_shapes(_SEED, index, image_size=side)
        index += 1
        x1, y1, x2, y2 = picture.boxes_px[-1].astype(int)  # Nothing covers the last.
        label = int(picture.labels[-1])
        inside = min(x1, y1) > 0 and max(x2, y2) < side
        fits = 0.23 < max(x2 - x1, y2 - y1) / side < 0.43
        if inside and fits and label not in labels[-kinds + 1 :]:
            alpha = 255 * picture.masks[-1][..., None].astype(np.uint8)
            shapes.append(np.concatenate([picture.image, alpha], -1)[y1:y2, x1:x2])
            labels.append(label)
    return shapes


def _background(side: int) -> np.ndarray:
    pixels = textures.background(np.random.default_rng(_SEED), side)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def frames() -> list[np.ndarray]:
    """Draws two shapes that cross from side to side, and one that goes down."""
    background = _background(_SIDE)
    one, other, third = cut_outs(3, _SIDE, 3)
    pictures = []
    for number in range(_FRAMES):
        along = number / (_FRAMES - 1)
        picture = background.copy()
        _paste(picture, one, 40, _between(6, _SIDE - one.shape[1] - 6, along))
        _paste(picture, other, 85, _between(_SIDE - other.shape[1] - 6, 6, along))
        x = _SIDE // 2 - third.shape[1] // 2
        _paste(picture, third, _between(150, _SIDE - third.shape[0] - 4, along), x)
        pictures.append(picture)
    return pictures


def _between(first: float, last: float, along: float) -> int:
    return round(first + (last - first) * along)


def _paste(picture: np.ndarray, shape: np.ndarray, y: int, x: int) -> None:
    window = picture[y : y + shape.shape[0], x : x + shape.shape[1]]
    window[shape[..., 3] > 0] = shape[..., :3][shape[..., 3] > 0]


def write_clip(path: Path, pictures: list[np.ndarray]) -> None:
    """Writes the pictures as a video of 24 frames per second."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = _SIDE, _SIDE, "yuv420p"
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def tracked(model: yolact_jax.Predictor) -> np.ndarray:
    """Three frames of the clip, with ids and colors of tracks."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, frames())
        results = model.stream(clip, score_threshold=_LEAST_SCORE)
        found = list(yolact_jax.track(results, frame_rate=24))
    return image_grid([found[n].draw(color_by="track") for n in _SHOWN], 3)


def large_picture() -> np.ndarray:
    """Draws small shapes over one background, each near its place in a grid."""
    picture = _background(_LARGE_SIDE)
    rng = np.random.default_rng(_SEED)
    cell = _LARGE_SIDE // 6
    for number, shape in enumerate(cut_outs(36, _TILE, 2)):
        row, column = divmod(number, 6)
        room = cell - np.array(shape.shape[:2])
        y, x = (int(rng.integers(0, max(1, side))) for side in room)
        _paste(picture, shape, row * cell + y, column * cell + x)
    return picture


def in_tiles(model: yolact_jax.Predictor) -> np.ndarray:
    """What is found in the large picture as a whole, and in tiles."""
    image = large_picture()
    ways = {}, {"tile": _TILE, "overlap": 0.5}
    found = [model.predict(image, score_threshold=_LEAST_SCORE, **way) for way in ways]
    return image_grid([result.draw(labels=False) for result in found], 2)


def main(_) -> None:
    """Writes the three pictures."""
    model = yolact_jax.load(_RUN.value, step="best", class_agnostic=True)
    output = Path(_OUTPUT.value)
    overlay = model.predict(draw_shapes(12, 3, image_size=_SIDE).image)
    write_picture(output / "overlay.jpg", overlay.draw(scale=1.5))
    write_picture(output / "tracked.jpg", tracked(model))
    write_picture(output / "tiles.jpg", in_tiles(model))


if __name__ == "__main__":
    app.run(main)

"""Folders of images and label files, made by the tests of importers."""

import base64
import json

import cv2
import numpy as np
import pytest

from yolact_jax.tools.convert import convert

HEIGHT, WIDTH = 40, 60
TRIANGLE = [[5.5, 4.0], [30.25, 8.0], [12.0, 33.5]]
SQUARE = [[40.0, 10.0], [55.0, 10.0], [55.0, 25.0], [40.0, 25.0]]


class Folders:
    """`images` and `labels` in a folder, and the json file made of them."""

    def __init__(self, root):
        self.root, self.images, self.labels = root, root / "images", root / "labels"
        self.out = root / "made" / "train.json"
        self.images.mkdir()
        self.labels.mkdir()

    def put(self, place, data):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def image(self, *names, size=(HEIGHT, WIDTH)):
        for name in names:
            pixels = np.full((*size, 3), 90, np.uint8)
            self.put(self.images / name, cv2.imencode(".jpg", pixels)[1].tobytes())

    def text(self, name, text, encoding="utf-8"):
        self.put(self.labels / name, text.encode(encoding))

    def labelme(self, name, *shapes, **fields):
        self.text(name, json.dumps({"version": "5.5.0", "shapes": shapes, **fields}))

    def mask(self, name, numbers):
        self.put(self.labels / name, png(numbers))

    def convert(self, source, **options):
        """Converts, and returns what the file has and what was left out."""
        done = convert(source, self.labels, self.images, self.out, **options)
        return json.loads(self.out.read_text()), list(done.skipped)


def png(numbers):
    return cv2.imencode(".png", numbers)[1].tobytes()


def shape(label, points, kind="polygon", group=None, **fields):
    return {
        "label": label,
        "points": points,
        "shape_type": kind,
        "group_id": group,
        **fields,
    }


def mask_shape(label, corner, mask, **fields):
    """A shape that labelme's "AI mask" makes: a box, and its pixels as a PNG file."""
    x, y = corner
    points = [[x, y], [x + mask.shape[1] - 1, y + mask.shape[0] - 1]]
    encoded = base64.b64encode(png(mask)).decode()
    return shape(label, points, "mask", mask=encoded, **fields)


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)

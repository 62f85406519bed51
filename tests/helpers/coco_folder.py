"""A small COCO-format dataset on disk, for tests to break."""

import copy
import functools
import http.server
import json
import threading

import numpy as np
import pytest
import simplejpeg
from hypothesis import settings
from pycocotools import mask as coco_mask

# The same cases in every run, and no folder of failed ones in the checkout.
settings.register_profile("fixed", derandomize=True, database=None)
settings.load_profile("fixed")

HEIGHT, WIDTH = 40, 60


def disc_rle(y, x, radius, height=HEIGHT, width=WIDTH):
    """A disc as a compressed run-length `segmentation`."""
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    encoded = coco_mask.encode(np.asfortranarray(disc, np.uint8))
    return {"size": [height, width], "counts": encoded["counts"].decode()}


def _annotations():
    disc = disc_rle(20, 30, 9)
    runs = [0, 40 * 10, 40 * 50]
    first = [5.5, 5.25, 25.1, 5.75, 25.2, 20.333, 6.0, 21.0]
    second = [30, 10, 50, 10, 40, 30]
    return [
        {
            "id": 11,
            "image_id": 7,
            "category_id": 18,
            "bbox": [5.5, 5.25, 19.7, 15.75],
            "area": 293.0123456789,
            "iscrowd": 0,
            "segmentation": [first],
        },
        {
            "id": 900,
            "image_id": 7,
            "category_id": 3,
            "bbox": [5.5, 5.25, 44.5, 24.75],
            "area": 400,
            "iscrowd": 0,
            "segmentation": [first, second],
        },
        {
            "id": 12,
            "image_id": 9,
            "category_id": 3,
            "bbox": [21, 11, 19, 19],
            "area": 249.5,
            "iscrowd": 0,
            "segmentation": disc,
        },
        {
            "id": 13,
            "image_id": 9,
            "category_id": 18,
            "bbox": [0, 0, 10, 40],
            "area": 400,
            "iscrowd": 1,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs},
        },
        # Real COCO has boxes without area, and boxes that overshoot a bit.
        {
            "id": 14,
            "image_id": 7,
            "category_id": 3,
            "bbox": [30.0, 20.0, 0, 5.0],
            "area": 0.0,
            "iscrowd": 0,
            "segmentation": [[30, 20, 30, 25, 30, 22]],
        },
        {
            "id": 15,
            "image_id": 7,
            "category_id": 18,
            "bbox": [40.0, 20.0, 20.004, 20.01],
            "area": 400.0,
            "iscrowd": 0,
            "segmentation": [[40, 20, 60.004, 20, 60.004, 40.01, 40, 40.01]],
        },
    ]


def _content():
    images = [
        {"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for image_id, name in ((9, "nine.jpg"), (7, "seven.jpg"), (300, "empty.jpg"))
    ]
    # Ids with gaps and not in order: labels follow the ids, not the list.
    categories = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]
    return {
        "images": images,
        "annotations": _annotations(),
        "categories": categories,
    }


class CocoFolder:
    """A COCO-format folder: `content` can be changed before `write`."""

    def __init__(self, root):
        self.root = root
        self.file, self.images = root / "instances.json", root / "images"
        self.content = copy.deepcopy(_content())
        self.images.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for entry in self.content["images"]:
            pixels = rng.integers(0, 255, (4, 6, 3), np.uint8)
            pixels = pixels.repeat(10, 0).repeat(10, 1)
            path = self.images / entry["file_name"]
            path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=95))

    def write(self):
        self.file.write_text(json.dumps(self.content))
        return self

    def arguments(self):
        return {
            "train_annotations": self.file,
            "train_images": self.images,
            "validation_annotations": self.file,
            "validation_images": self.images,
        }


@pytest.fixture
def coco(tmp_path):
    return CocoFolder(tmp_path / "coco").write()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves the folder `release` over http at the URL that it returns."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = functools.partial(_Quiet, directory=tmp_path / "release")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(
            target=running.serve_forever, args=(0.01,), daemon=True
        ).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()

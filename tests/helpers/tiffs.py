"""TIFF files of many channels, in every arrangement."""

import io
import json

import numpy as np
import pytest
import tifffile

from yolact_jax.config import Config


def tiff(image, layout, **options):
    """Encodes [h, w, n]: a page for each channel, or all samples in one page."""
    stream = io.BytesIO()
    first = np.ascontiguousarray(np.moveaxis(image, -1, 0))
    if layout == "pages":
        tifffile.imwrite(stream, first, photometric="minisblack", **options)
    elif layout == "samples":
        tifffile.imwrite(
            stream, image, photometric="minisblack", planarconfig="contig", **options
        )
    else:
        tifffile.imwrite(
            stream, first, photometric="minisblack", planarconfig="separate", **options
        )
    return stream.getvalue()


LAYOUTS = ("pages", "samples", "planes")


def noise(channels, dtype, size=(11, 17), seed=0):
    top = np.iinfo(dtype).max
    rng = np.random.default_rng(seed)
    return rng.integers(0, top, (*size, channels), dtype, endpoint=True)


SIZE = 40, 60
CHANNELS = 5


def write_set(root, images):
    """A set in COCO's format of the images in files, both splits the same."""
    root.mkdir()
    for name, data in images.items():
        (root / name).write_bytes(data)
    entries = [
        {"id": i, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
        for i, name in enumerate(images, start=1)
    ]
    square = [5, 5, 25, 5, 25, 25, 5, 25]
    annotation = {"category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}
    annotations = [
        {**annotation, "id": e["id"], "image_id": e["id"], "segmentation": [square]}
        for e in entries
    ]
    categories = [{"id": 1, "name": "square"}]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    (root / "all.json").write_text(json.dumps(content))


def config_of(root, tmp_path, base=None, **changes):
    """A config for the set, `base` by default as it comes; changes of its data."""
    splits = ("train", "validation")
    fields = {f"data.{s}_annotations": str(root / "all.json") for s in splits}
    fields |= {f"data.{s}_images": str(root) for s in splits}
    fields["data.records_dir"] = str(tmp_path / "records")
    changes = {f"data.{name}": value for name, value in changes.items()}
    return (base or Config()).replace({"data.dataset": "coco"} | fields | changes)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Five images of five channels, 16 bits, each channel in a range of its own."""
    images = []
    for seed in range(5):
        image = noise(CHANNELS, np.uint16, SIZE, seed)
        images.append((image // [1, 2, 30, 400, 8] + [0, 9, 9, 100, 5]).astype("<u2"))
    layouts = ("pages", "samples", "planes", "pages", "samples")
    files = {
        f"{i}.tif": tiff(image, layout)
        for i, (image, layout) in enumerate(zip(images, layouts, strict=True))
    }
    root = tmp_path_factory.mktemp("many") / "set"
    write_set(root, files)
    return root, np.stack(images)

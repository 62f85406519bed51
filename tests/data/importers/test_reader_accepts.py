"""Property: whatever a conversion writes, the reader of COCO files accepts."""

import json
import random

import numpy as np
import pytest

from tests.helpers.label_folders import (
    HEIGHT,
    SQUARE,
    TRIANGLE,
    WIDTH,
    Folders,
    mask_shape,
    shape,
)
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.sources.coco_builder import prepare_coco
from yolact_jax.data.sources.coco_json import read_coco

STEMS = ("a", "b", "sub/c", "d\\e", "f g", "é")
SCALARS = (
    *(None, True, "", "x", "\ud800", [], {}, 0, -1, 3, 0.5, 59.9, 60, 61, 1e4),
    *(float("nan"), float("inf"), -(2**31), 2**63, 10**400, 1e9, 1e308, "9" * 5000),
)
KINDS = ("polygon", "rectangle", "circle", "mask", "point", "linestrip", None, 7)


def any_shape(rng):
    """A shape of labelme, sound or with one or two values replaced."""
    size = rng.randrange(1, 12), rng.randrange(1, 12)
    mask = np.array(rng.choices([0, 255], k=size[0] * size[1]), np.uint8).reshape(size)
    corner = rng.randrange(-3, WIDTH), rng.randrange(-3, HEIGHT)
    points = rng.choice([TRIANGLE, SQUARE, SQUARE[:2], SQUARE[:1], [[0, 0]] * 4, []])
    points = [
        [x + rng.choice([0, 0, 0.3, -40, 70]), y] for x, y in json.loads(str(points))
    ]
    made = rng.choice(
        [
            shape(rng.choice(["cat", "dog"]), points, rng.choice(KINDS)),
            mask_shape("cat", corner, mask),
        ]
    )
    made["group_id"] = rng.choice([None, None, 1, "1", 2])
    for _ in range(rng.choice([0, 0, 1, 2])):
        spoil(made, rng)
    return made


def spoil(value, rng):
    """Replaces one value somewhere in a json value."""
    while True:
        key = rng.choice(list(value if isinstance(value, dict) else range(len(value))))
        inner = value[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
            value = inner
        else:
            value[key] = rng.choice(SCALARS)
            return


def any_labelme(folders, name, rng):
    shapes = [any_shape(rng) for _ in range(rng.randrange(4))]
    kind = rng.choice([int, float])  # Scripts write 60.0 as well.
    size = {"imageHeight": kind(HEIGHT), "imageWidth": kind(WIDTH)}
    content = {"shapes": shapes, **size}
    if rng.random() < 0.1:
        spoil(content, rng)
    folders.text(f"{name}.json", json.dumps(content))


def any_yolo(folders, name, rng):
    lines = []
    for _ in range(rng.randrange(4)):
        points = np.array(rng.choice([TRIANGLE, SQUARE, SQUARE[:2]])) / (WIDTH, HEIGHT)
        words = ["01x"[rng.randrange(3)], *map(str, points.ravel().tolist())]
        if rng.random() < 0.5:
            bad = rng.choice(
                ["nan", "1e999", "-0.009", "1.0021", "2", "", "x", "9" * 99]
            )
            words[rng.randrange(len(words))] = bad
        lines.append(" ".join(words))
    folders.text(f"{name}.txt", "\n".join(lines), rng.choice(["utf-8", "utf-16"]))


def any_png(folders, name, rng):
    size = (HEIGHT, WIDTH) if rng.random() < 0.9 else (WIDTH, HEIGHT)
    numbers = np.zeros(size, rng.choice([np.uint8, np.uint16]))
    for _ in range(rng.randrange(5)):
        y, x = rng.randrange(size[0]), rng.randrange(size[1])
        number = rng.choice([0, 1, 7, 255, np.iinfo(numbers.dtype).max])
        numbers[y : y + rng.randrange(1, 30), x : x + rng.randrange(1, 30)] = number
    if rng.random() < 0.3:
        numbers = np.stack([numbers] * 3, axis=-1)
    folders.mask(rng.choice(["", "", "cat/", "\udcff/"]) + f"{name}.png", numbers)


MAKERS = {
    "labelme": (any_labelme, {}),
    "yolo": (any_yolo, {"classes": ["cat", "dog"], "boxes_as_rectangles": True}),
    "png": (any_png, {}),
}


def make_folders(root, source, seed):
    rng = random.Random(seed)
    root.mkdir()
    folders = Folders(root)
    for stem in STEMS:
        if rng.random() < 0.9:
            folders.image(f"{stem}{rng.choice(['.jpg', '.JPEG', '.png'])}")
        if rng.random() < 0.9:
            MAKERS[source][0](folders, stem, rng)
    if rng.random() < 0.1:
        (folders.images / "folder.png").mkdir()
    return folders


def check(root, source, seed):
    """Returns whether a file was written, and how many items were left out."""
    folders = make_folders(root / f"{source}{seed}", source, seed)
    options = MAKERS[source][1]
    try:
        content, skipped = folders.convert(source, **options, skip_bad=True)
    except DatasetError as refused:
        content, skipped = None, refused.problems
    assert all(len(problem) < 600 for problem in skipped)
    assert folders.out.exists() == (content is not None)
    if content is None:
        return False, len(skipped)
    found = read_coco(folders.out, folders.images)
    assert not found.skipped
    assert len(found.images) == len(content["images"])
    assert sum(map(len, found.annotations.values())) == len(content["annotations"])
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        assert 0 <= x <= x + width <= WIDTH
        assert 0 <= y <= y + height <= HEIGHT
    if skipped:
        with pytest.raises(DatasetError):
            folders.convert(source, **options)
    return True, len(skipped)


@pytest.mark.parametrize("source", MAKERS)
def test_what_is_written_is_accepted(tmp_path, source):
    results = [check(tmp_path, source, seed) for seed in range(40)]
    assert sum(written for written, _ in results) >= 20
    assert sum(num_problems for _, num_problems in results) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("source", MAKERS)
def test_what_is_written_is_accepted_many_times(tmp_path, source):
    for seed in range(40, 400):
        check(tmp_path, source, seed)


@pytest.mark.parametrize("source", MAKERS)
def test_records_are_made_of_what_is_written(tmp_path, source):
    for seed in range(3):
        if check(tmp_path, source, seed)[0]:
            folder = tmp_path / f"{source}{seed}"
            dataset = prepare_coco(
                data_dir=tmp_path / "records",
                train_annotations=folder / "made" / "train.json",
                train_images=folder / "images",
                validation_annotations=None,
                validation_images=None,
            )
            assert not dataset.skipped

"""Near copies stay on one side; the choice depends on content and seed alone."""

import cv2
import numpy as np
import pytest

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.folders import duplicates
from yolact_jax.data.folders.split import split


def scene(seed):
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC)


def write(folder, name, pixels, quality=95):
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    cv2.imwrite(str(folder / name), pixels, options)


@pytest.fixture
def pictures(tmp_path):
    """Twenty scenes; of every fourth a copy of lower quality and a brighter one."""
    names = []
    for seed in range(20):
        write(tmp_path, f"{seed}.jpg", scene(seed))
        names.append(f"{seed}.jpg")
        if seed % 4 == 0:
            write(tmp_path, f"{seed}b.jpg", scene(seed), quality=60)
            brighter = np.clip(scene(seed).astype(int) + 3, 0, 255).astype(np.uint8)
            write(tmp_path, f"{seed}c.jpg", brighter)
            names += [f"{seed}b.jpg", f"{seed}c.jpg"]
    return tmp_path, names


def content(names):
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [{"id": i, "image_id": i} for i in range(len(names))],
        "categories": [{"id": 1, "name": "thing"}],
    }


def scene_of(name):
    return name.removesuffix(".jpg").rstrip("bc")


def test_copies_of_a_scene_are_grouped_and_scenes_are_not(pictures):
    folder, names = pictures
    looks, problems = duplicates.looks([folder / name for name in names])
    groups = duplicates.groups(list(looks.values()))
    found = {frozenset(names[i] for i in group) for group in groups}
    assert not problems
    by_scene = {}
    for name in names:
        by_scene.setdefault(scene_of(name), set()).add(name)
    assert found == {frozenset(group) for group in by_scene.values()}


def names_of(part):
    return {entry["file_name"] for entry in part["images"]}


def test_no_scene_is_on_both_sides_and_nothing_is_lost(pictures):
    folder, names = pictures
    for seed in range(5):
        parts, num_near, problems = split(
            content(names), folder, fraction=0.2, seed=seed
        )
        train, validation = names_of(parts["train"]), names_of(parts["validation"])
        assert train | validation == set(names)
        assert not {scene_of(n) for n in train} & {scene_of(n) for n in validation}
        assert 6 <= len(validation) <= 8
        assert num_near == 10
        assert not problems
        for part in parts.values():
            ids = {entry["id"] for entry in part["images"]}
            assert {entry["image_id"] for entry in part["annotations"]} == ids


def test_the_choice_depends_on_content_and_seed_not_on_order(pictures):
    folder, names = pictures
    first = split(content(names), folder, fraction=0.2, seed=1)[0]
    again = split(content(names[::-1]), folder, fraction=0.2, seed=1)[0]
    other = split(content(names), folder, fraction=0.2, seed=2)[0]
    assert names_of(first["validation"]) == names_of(again["validation"])
    assert names_of(first["validation"]) != names_of(other["validation"])


def test_copies_of_one_picture_cannot_be_split(tmp_path):
    for number in range(4):
        write(tmp_path, f"{number}.jpg", scene(0))
    names = [f"{number}.jpg" for number in range(4)]
    with pytest.raises(DatasetError, match="4 images cannot be split"):
        split(content(names), tmp_path, fraction=0.25, seed=0)

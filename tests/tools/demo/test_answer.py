"""What the demo answers to pictures and clips, good and bad."""

import json

import cv2
import numpy as np
import pytest

from tests.helpers.clips import corner_frames, write_clip
from tests.results.test_files import OneObject
from yolact_jax.tools.demo.answer import answer


class Picky(OneObject):
    """Finds its object only if it is wanted, and notes the options."""

    class_names, category_ids = ("dog", "<b>cat</b>"), (7, 9)

    def stream(self, images, *, classes, score_threshold, **options):
        for found in super().stream(images):
            wanted = classes is None or 7 in classes
            yield found[(found.scores >= score_threshold) & wanted]


@pytest.fixture
def ask(tmp_path):
    folder = tmp_path / "answer"
    folder.mkdir()

    def ask(file, score_threshold=0.3, category_ids=()):
        options = {"score_threshold": score_threshold, "category_ids": category_ids}
        return answer(Picky(), file, folder, **options)

    return ask


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "my photo.png"
    cv2.imwrite(str(path), np.full((24, 32, 3), 80, np.uint8))
    return path


def test_a_picture_is_drawn_and_its_objects_listed(ask, photo):
    found = ask(str(photo), category_ids=[7])
    assert found.sentence == "my photo.png: 1 object: 1 dog."
    assert found.clip is None
    picture = cv2.imread(str(found.picture))
    assert picture.shape[1] >= 32
    assert picture.std() > 1
    content = json.loads(found.detections.read_text())
    (one,) = content["annotations"]
    assert (one["category_id"], one["bbox"]) == (7, [8, 6, 8, 6])
    assert content["images"][0]["file_name"] == "my photo.png"


@pytest.mark.parametrize("options", [{"score_threshold": 0.95}, {"category_ids": [9]}])
def test_score_and_classes_leave_objects_out(ask, photo, options):
    found = ask(photo, **options)
    assert found.sentence == "my photo.png: no object."
    assert not json.loads(found.detections.read_text())["annotations"]


def test_a_clip_is_counted_over_its_frames(ask, tmp_path):
    found = ask(write_clip(tmp_path / "clip.mp4", corner_frames(3)))
    assert found.sentence == "clip.mp4: 3 objects in 3 frames: 3 dog."
    assert found.picture is None
    assert found.clip.stat().st_size > 100
    assert len(json.loads(found.detections.read_text())["images"]) == 3


def test_a_clip_that_breaks_off_is_shown_with_what_is_wrong(ask, tmp_path):
    path = write_clip(tmp_path / "clip.ts", corner_frames(24), codec="mpeg2video")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(500))
    found = ask(path)
    assert found.sentence


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jpg", b"\xff\xd8\xff\xe0 no picture", "a.jpg"),
        ("a.png", b"", "a.png"),
        ("a.mp4", b"no clip", "a.mp4"),
        ("a.txt", b"text", "a.txt"),
    ],
)
def test_a_bad_file_is_explained_without_its_folder(
    ask, tmp_path, name, content, words
):
    path = tmp_path / name
    path.write_bytes(content)
    found = ask(path)
    assert words in found.sentence
    assert str(tmp_path) not in found.sentence
    assert found.sentence.endswith(".")
    assert found.picture is found.clip is found.detections is None


def test_no_file_is_explained(ask):
    assert ask(None).sentence == "Choose a picture or a clip first."

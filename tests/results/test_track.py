"""Ids over frames, for boxes that are known."""

import builtins
import json

import numpy as np
import pytest

import yolact_jax
from tests.helpers.clips import read_clip, write_clip
from yolact_jax.results.draw import draw_instances
from yolact_jax.results.files import predict_files
from yolact_jax.results.instances import Instances
from yolact_jax.results.track import track

pytest.importorskip("trackers")

SIZE = 120, 160
SIDE = 24


def squares(positions, *, scores=None, image=None, order=None):
    """Instances of squares at their top left corners (x, y)."""
    boxes = np.array([(x, y, x + SIDE, y + SIDE) for x, y in positions], np.float32)
    boxes = boxes.reshape(-1, 4)
    masks = np.zeros((len(boxes), *SIZE), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = True
    scores = [0.9] * len(boxes) if scores is None else scores
    labels = np.zeros(len(boxes), np.int32)
    found = Instances(
        boxes, np.array(scores, np.float32), labels, masks,
        class_names=("square",), category_ids=(7,), image=image,
    )  # fmt: skip
    return found if order is None else found[order]


def crossing(number, count=24):
    """Where two squares are that change sides, one passing below the other's half."""
    step = number * (SIZE[1] - SIDE) / (count - 1)
    return (step, 30), (SIZE[1] - SIDE - step, 46)


def test_two_that_cross_keep_their_ids_whatever_the_order():
    rng = np.random.default_rng(0)
    ids = {0: set(), 1: set()}
    frames = [
        squares(crossing(n), order=order)
        for n, order in ((n, rng.permutation(2)) for n in range(24))
    ]
    orders = np.random.default_rng(0)
    for result in track(frames, frame_rate=24):
        for which, track_id in zip(
            orders.permutation(2), result.track_ids, strict=True
        ):
            ids[which].add(int(track_id))
    first, second = (seen - {-1} for seen in ids.values())
    assert len(first) == len(second) == 1
    assert first != second
    assert min(first | second) >= 1


def test_an_object_has_its_id_from_the_second_frame_on():
    found = list(track([squares([(10 + n, 20)]) for n in range(4)]))
    assert [r.track_ids.tolist() for r in found] == [[-1], [1], [1], [1]]


def test_one_that_is_lost_for_half_a_second_comes_back_and_for_longer_does_not():
    there = [squares([(40, 40)])] * 4
    for missing, same in ((10, True), (70, False)):
        frames = [*there, *[squares([])] * missing, *there]
        found = list(track(frames, frame_rate=20))
        first, last = found[3].track_ids[0], found[-1].track_ids[0]
        assert (first == last) == same
        assert last >= 1
        assert found[5].track_ids.shape == (0,)


def test_weak_objects_continue_tracks_and_start_none():
    frames = [squares([(40, 40), (100, 80)], scores=[0.9, 0.4])] * 3
    frames += [squares([(40, 40), (100, 80)], scores=[0.4, 0.4])] * 3
    for result in list(track(frames))[1:]:
        assert result.track_ids.tolist() == [1, -1]


def test_ids_follow_their_objects_through_selection_and_formats():
    result = list(track([squares([(10, 20), (80, 70)])] * 2))[-1]
    kept = result[result.boxes_px[:, 0] > 50]
    assert kept.track_ids.tolist() == result.track_ids[1:].tolist()
    assert kept.to_coco()[0]["track_id"] == result.track_ids[1]
    assert kept.to_supervision().tracker_id.tolist() == kept.track_ids.tolist()
    untracked = kept.with_track_ids(np.array([-1]))
    assert "track_id" not in untracked.to_coco()[0]
    assert "track_id" not in squares([(10, 20)]).to_coco()[0]


def test_colors_follow_the_track_and_not_the_rank():
    image = np.zeros((*SIZE, 3), np.uint8)
    one = squares([(10, 20), (80, 70)], scores=[0.9, 0.8])
    other = squares([(80, 70), (10, 20)], scores=[0.9, 0.8])
    one, other = (
        r.with_track_ids(np.array(ids)) for r, ids in ((one, [3, 8]), (other, [8, 3]))
    )
    options = {"color_by": "track", "labels": False}
    first, second = (draw_instances(image, r, **options) for r in (one, other))
    np.testing.assert_array_equal(first, second)
    assert (first[32, 22] != first[82, 92]).any()
    untracked = one.with_track_ids(np.array([-1, -1]))
    gray = draw_instances(image, untracked, **options)[32, 22]
    assert len(set(gray.tolist())) == 1
    with pytest.raises(ValueError, match="the instances have no track_ids"):
        draw_instances(image, squares([(10, 20)]), color_by="track")


class Seen:
    """Finds the two squares of a frame by their brightness."""

    class_names, category_ids = ("square",), (7,)

    def stream(self, images, **options):
        for number, image in enumerate(images):
            yield squares(crossing(number), image=image)


def test_ids_and_colors_of_a_clip(tmp_path):
    pytest.importorskip("av")
    clip = write_clip(tmp_path / "a.mp4", np.zeros((24, *SIZE, 3), np.uint8))
    assert predict_files(Seen(), clip, tmp_path / "out", with_tracks=True) == []
    found = json.loads((tmp_path / "out" / "detections.json").read_text())
    by_frame = {image["id"]: image["frame_id"] for image in found["images"]}
    ids = {
        (by_frame[a["image_id"]], a["bbox"][1]): a["track_id"]
        for a in found["annotations"]
        if by_frame[a["image_id"]]
    }
    assert len({ids[n, 30] for n in range(1, 24)}) == 1
    assert len({ids[n, 46] for n in range(1, 24)}) == 1
    assert ids[1, 30] != ids[1, 46]
    frames, _, _ = read_clip(tmp_path / "out" / "a.mp4")

    def color(number, which):
        x, y = crossing(number)[which]
        return frames[number, int(y) + 12, int(x) + 12].astype(int)

    for which in (0, 1):  # The same before and after, though they have changed sides.
        assert np.abs(color(2, which) - color(21, which)).max() < 25
    assert np.abs(color(2, 0) - color(2, 1)).max() > 60


def test_it_is_a_name_of_the_package():
    assert yolact_jax.track is track


def test_bad_rates_and_a_missing_package_are_one_sentence(monkeypatch):
    with pytest.raises(ValueError, match="`frame_rate` is 0; it must be above 0"):
        track([], frame_rate=0)
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "trackers":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ValueError, match=r'pip install "yolact_jax\[track\]"'):
        track([])

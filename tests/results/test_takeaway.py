"""Labels, masks and cut-outs of predictions: read back, and never over other files."""

import contextlib
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers.commands import ROOT
from yolact_jax.data import importers
from yolact_jax.data.pixels import RGB
from yolact_jax.results.files import predict_files
from yolact_jax.results.instances import Instances
from yolact_jax.results.takeaway import TakeAway

SIZE = (48, 70)


def squares(*places, size=SIZE):
    """Objects that are squares, (y, x, side), best first; boxes are those of masks."""
    masks = np.zeros((len(places), *size), bool)
    for mask, (y, x, side) in zip(masks, places, strict=True):
        mask[y : y + side, x : x + side] = True
    boxes = [[x, y, x + side, y + side] for y, x, side in places]
    return Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.4, len(places), dtype=np.float32),
        np.arange(len(places)) % 2,
        masks,
        class_names=("cat", "dog"),
        category_ids=(3, 8),
    )


class Fake:
    """Finds three squares, of which two overlap and one has no mask."""

    class_names, category_ids = ("cat", "dog"), (3, 8)
    pixels = RGB

    def stream(self, images, **options):
        for image in images:
            found = squares((4, 5, 20), (0, 0, 0), (12, 15, 25), size=image.shape[:2])
            found.image = image
            yield found


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.jpg", "b.png"):
        pixels = np.random.default_rng(len(name)).integers(0, 255, (*SIZE, 3))
        cv2.imwrite(str(folder / name), pixels.astype(np.uint8))
    return folder


def predict(photos, tmp_path, overwrite=False, **take_away):
    options = TakeAway(**take_away)
    out = tmp_path / "out"
    predict_files(Fake(), photos, out, take_away=options, overwrite=overwrite)
    return json.loads((out / "detections.json").read_text())


def names(folder):
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if not name.startswith("."))


def test_labelme_files_are_read_back(photos, tmp_path):
    predict(photos, tmp_path, labelme=tmp_path / "labels")
    assert names(tmp_path / "labels") == ["a.json", "b.jpg.json", "b.png.json"]
    content = json.loads((tmp_path / "labels" / "b.jpg.json").read_text())
    assert content["imagePath"] == "../photos/b.jpg"
    read = importers.from_labelme(tmp_path / "labels", photos)
    assert not read.skipped
    entries = read.content["annotations"]
    assert [entry["area"] for entry in entries] == [400, 625] * 3
    assert [category["name"] for category in read.content["categories"]] == ["cat"]


def test_labels_of_equal_names_in_several_folders_are_read_back(tmp_path):
    photos = tmp_path / "photos"
    sides = {"x.jpg": 40, "one/x.jpg": 50, "two/x.jpg": 60, "two/x.png": 70}
    for name, side in sides.items():
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(photos / name), np.zeros((side, side, 3), np.uint8))
    folders = {name: tmp_path / "out" / name for name in ("labelme", "masks", "crops")}
    options, out = TakeAway(**folders), tmp_path / "out"
    predict_files(Fake(), photos, out, take_away=options, recursive=True)
    stems = ["one/x", "two/x.jpg", "two/x.png", "x"]
    assert names(folders["labelme"]) == [f"{stem}.json" for stem in stems]
    assert names(folders["masks"]) == [f"{stem}.png" for stem in stems]
    numbers = [
        *importers.from_labelme(folders["labelme"], photos).content["images"],
        *importers.from_png(folders["masks"], photos).content["images"],
    ]
    assert {(i["file_name"], i["height"]) for i in numbers} == {*sides.items()}
    assert len(names(folders["crops"])) == 2 * len(sides)
    with pytest.raises(ValueError, match="has files already"):
        predict_files(Fake(), photos, tmp_path / "b", take_away=options, recursive=True)


def test_mask_files_number_the_annotations(photos, tmp_path):
    found = predict(photos, tmp_path, masks=tmp_path / "masks", segmentation="polygons")
    for image in found["images"]:
        path = tmp_path / "masks" / image["picture"]
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert ids.dtype == np.uint16
        expected = np.zeros(SIZE, np.uint16)
        expected[12:37, 15:40] = 2
        expected[4:24, 5:25] = 1
        np.testing.assert_array_equal(ids, expected)
        own = [a for a in found["annotations"] if a["image_id"] == image["id"]]
        assert [a["area"] for a in own] == [400, 625]


def test_cut_outs_have_the_pixels_of_their_object(photos, tmp_path):
    predict(photos, tmp_path, crops=tmp_path / "crops", disjoint=True)
    stems = ("a", "b.jpg", "b.png")
    expected = [f"{stem}/{number}.png" for stem in stems for number in (1, 2)]
    assert names(tmp_path / "crops") == expected
    image = cv2.imread(str(photos / "b.png"))
    cut = cv2.imread(str(tmp_path / "crops/b.png/2.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(cut[..., :3], image[12:37, 15:40])
    assert np.count_nonzero(cut[..., 3]) == 625 - 12 * 10
    assert not cut[:12, :10, 3].any()


def test_earlier_files_go_on_request_only(photos, tmp_path):
    folders = {name: tmp_path / name for name in ("labelme", "masks", "crops")}
    predict(photos, tmp_path, **folders)
    (photos / "a.png").unlink()
    for name, folder in folders.items():
        with pytest.raises(ValueError, match=f"`{name}` .* has files already"):
            predict(photos, tmp_path, **{name: folder})
    predict(photos, tmp_path, overwrite=True, **folders)
    assert names(folders["masks"]) == ["b.jpg.png", "b.png.png"]
    assert "a/1.png" not in names(folders["crops"])


def test_earlier_files_stay_if_no_image_can_be_read(photos, tmp_path):
    folders = {name: tmp_path / name for name in ("labelme", "masks", "crops")}
    before = predict(photos, tmp_path, **folders)
    files = {folder: names(folder) for folder in folders.values()}
    for photo in photos.iterdir():
        photo.write_bytes(b"")
    assert predict(photos, tmp_path, overwrite=True, **folders) == before
    assert {folder: names(folder) for folder in files} == files


@pytest.mark.parametrize("name", ["labelme", "masks", "crops"])
def test_what_a_killed_prediction_left_is_replaced_too(photos, tmp_path, name):
    long = "ä" * 120  # Which the name of a temporary file has not room for.
    (photos / "a.png").rename(photos / f"{long}.png")
    code = f"""
    import os, pathlib, signal
    from tests.results.test_takeaway import SIZE, TakeAway, np, squares
    pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    found = squares((4, 5, 20))
    found.image = np.zeros((*SIZE, 3), np.uint8)
    options = TakeAway({name}=pathlib.Path({str(tmp_path / name)!r}))
    with options.open_folders() as write:
        write(pathlib.Path("photo"), {long!r}, {long!r}, found)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == -signal.SIGKILL
    (left,) = (tmp_path / name).rglob("*.tmp")
    predict(photos, tmp_path, overwrite=True, **{name: tmp_path / name})
    assert not left.exists()
    left.with_name(".mine.0.tmp").write_text("")
    with pytest.raises(ValueError, match=r"no prediction wrote, such as \.mine\.0"):
        predict(photos, tmp_path, overwrite=True, **{name: tmp_path / name})


@pytest.mark.parametrize("num_removed", range(7))
def test_a_folder_that_is_half_emptied_can_be_replaced(photos, tmp_path, num_removed):
    predict(photos, tmp_path, masks=tmp_path / "masks", crops=tmp_path / "crops")
    remove, removed = Path.unlink, []

    def remove_some(path):
        if len(removed) == num_removed:
            raise KeyboardInterrupt
        removed.append(path)
        remove(path)

    options = TakeAway(masks=tmp_path / "masks", crops=tmp_path / "crops")
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.suppress(KeyboardInterrupt),
        options.open_folders() as write,
    ):
        patch.setattr(Path, "unlink", remove_some)
        write(photos / "a.png", "a", "a", squares((4, 5, 20)))
    assert len(removed) == num_removed
    options.check_folders(tmp_path / "out", overwrite=True)


def test_a_name_may_have_what_some_readers_take_for_the_end_of_a_line(photos, tmp_path):
    (photos / "a.png").rename(photos / "a\u2028\x85\r\n\x0c.png")
    predict(photos, tmp_path, masks=tmp_path / "masks")
    predict(photos, tmp_path, overwrite=True, masks=tmp_path / "masks")
    assert len(names(tmp_path / "masks")) == 3


def test_the_list_of_an_earlier_version_is_read(photos, tmp_path):
    predict(photos, tmp_path, masks=tmp_path / "masks")
    content = "".join(f"{name}\n" for name in names(tmp_path / "masks"))
    (tmp_path / "masks" / ".written_by_yolact_jax").write_text(content)
    (photos / "a.png").unlink()
    predict(photos, tmp_path, overwrite=True, masks=tmp_path / "masks")
    assert len(names(tmp_path / "masks")) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segmentation": "ring"}, "`segmentation` is 'ring'; it must be 'rle' or"),
        ({"segmentation": "polygons", "tolerance_px": -1}, "`tolerance_px` is -1;"),
        ({"tolerance_px": 1.0}, "`tolerance_px` is for polygons"),
    ],
)
def test_what_contradicts_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TakeAway(**options)

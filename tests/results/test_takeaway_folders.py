"""Where labels, masks and cut-outs may go, and what is said where they cannot."""

from pathlib import Path

import pytest

from tests.results.test_takeaway import Fake, names, photos, predict, squares
from yolact_jax.results.files import predict_files
from yolact_jax.results.takeaway import TakeAway

__all__ = ["photos"]


@pytest.mark.parametrize("name", ["labelme", "masks", "crops"])
def test_other_files_are_left_alone(photos, tmp_path, name):
    before = {path: path.read_bytes() for path in photos.iterdir()}
    for folder in (photos, tmp_path / "out"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            predict(photos, tmp_path, overwrite=True, **{name: folder})
    assert {path: path.read_bytes() for path in photos.iterdir()} == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("output", "folders"),
    [
        ("res/pictures", {"masks": "res"}),
        ("res/a/b", {"crops": "link"}),
        ("out", {"masks": "n", "labelme": "n/labels"}),
        ("out", {"labelme": "out/n", "crops": "out/n/a"}),
    ],
)
def test_a_folder_inside_one_that_is_emptied_is_refused(
    photos, tmp_path, output, folders
):
    (tmp_path / "link").symlink_to("res")
    options = TakeAway(**{kind: tmp_path / name for kind, name in folders.items()})
    with pytest.raises(ValueError, match=r"is inside .* choose another folder"):
        predict_files(Fake(), photos, tmp_path / output, take_away=options)
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "link"}


def test_the_folder_of_pictures_may_hold_the_others(photos, tmp_path):
    inside = {name: tmp_path / "out" / name for name in ("labelme", "masks", "crops")}
    for overwrite in (False, True):
        found = predict(photos, tmp_path, overwrite, **inside)
        for image in found["images"]:
            assert (tmp_path / "out" / image["picture"]).is_file()
            assert (inside["masks"] / image["picture"]).is_file()


def test_folders_that_are_emptied_go_too(photos, tmp_path):
    for overwrite, label in ((False, "a.json/b"), (True, "a")):
        options = TakeAway(labelme=tmp_path / "l")
        options.check_folders(tmp_path / "out", overwrite=overwrite)
        with options.open_folders() as write:
            write(photos / "a.png", "a", label, squares((4, 5, 20)))
    assert names(tmp_path / "l") == ["a.json"]


def test_files_that_no_prediction_wrote_stay_whatever_happens(photos, tmp_path):
    predict(photos, tmp_path, masks=tmp_path / "masks")
    (tmp_path / "masks" / "mine.txt").write_text("mine")
    with TakeAway(masks=tmp_path / "masks").open_folders() as write:
        write(photos / "a.png", "a", "a", squares((4, 5, 20)))
    assert names(tmp_path / "masks") == ["a.png", "mine.txt"]


@pytest.mark.parametrize("name", ["labelme", "masks", "crops"])
@pytest.mark.parametrize("place", ["photos/a.png", "photos/a.png/x/y", "link"])
def test_a_folder_that_cannot_be_made_is_named(photos, tmp_path, name, place):
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(ValueError, match=f"`{name}` .* cannot be made"):
        predict(photos, tmp_path, **{name: tmp_path / place})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["labelme", "masks", "crops"])
@pytest.mark.parametrize("step", ["mkdir", "replace"])
def test_a_folder_that_cannot_be_written_is_named(
    photos, tmp_path, monkeypatch, name, step
):
    folder, real = tmp_path / "taken", getattr(Path, step)

    def fail(path, *arguments, **options):
        if folder in (path, *path.parents):
            raise OSError(28, "No space left on device")
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(ValueError, match=f"`{name}` .*taken cannot be written: .*28"):
        predict(photos, tmp_path, **{name: folder})

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers.clips import corner_frames, write_clip
from yolact_jax.data.inputs import find_inputs, read_inputs, stem_of


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.PNG", "c.mp4", "notes.txt", "sub/d.jpg", "sub/e.MOV"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "in"


def names(paths):
    return [path.name for path in paths]


def test_a_folder_alone(folder):
    found = find_inputs(folder)
    assert names(found.images) == ["a.PNG", "b.jpg"]
    assert names(found.videos) == ["c.mp4"]
    assert names(found.skipped) == ["notes.txt", "sub"]


def test_a_folder_with_its_folders(folder):
    found = find_inputs(str(folder), recursive=True)
    assert names(found.images) == ["a.PNG", "b.jpg", "d.jpg"]
    assert names(found.videos) == ["c.mp4", "e.MOV"]
    assert names(found.skipped) == ["notes.txt"]
    assert found.names[folder / "sub" / "d.jpg"] == "sub/d.jpg"
    without = find_inputs(folder, recursive=True, outside=[folder / "sub"])
    assert names(without.images) == ["a.PNG", "b.jpg"]


def test_hidden_files_are_left_out_unless_they_are_named(folder):
    for name in ("._b.jpg", ".thumbnails/b.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    assert names(find_inputs(folder, recursive=True).images) == [
        *("a.PNG", "b.jpg", "d.jpg")
    ]
    assert names(find_inputs(folder / "._b.jpg").images) == ["._b.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any folder")
def test_a_folder_that_cannot_be_read_is_named(folder):
    (folder / "sub").chmod(0)
    try:
        with pytest.raises(PermissionError, match="sub"):
            find_inputs(folder, recursive=True)
    finally:
        (folder / "sub").chmod(0o755)


def test_names_stay_in_one_folder_where_a_pattern_goes_up_again(folder):
    (folder / "sub" / "deep").mkdir()
    found = find_inputs(f"{folder}/sub/d*/../../b.jpg")
    assert list(found.names.values()) == ["b.jpg"]


def test_a_link_back_to_the_folder_is_not_followed(folder):
    (folder / "again").symlink_to(folder)
    assert len(find_inputs(folder, recursive=True).images) == 3


def test_patterns_and_lists_name_every_file_once(folder):
    assert names(find_inputs(f"{folder}/*.jpg").images) == ["b.jpg"]
    found = find_inputs([f"{folder}/**/*.jpg", folder / "b.jpg", f"{folder}/*"])
    assert names(found.images) == ["b.jpg", "d.jpg", "a.PNG"]
    assert names(found.skipped) == ["notes.txt"]


def test_a_file_whose_name_looks_like_something_else_is_that_file(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("0", "[1].jpg"):
        Path(name).write_bytes(b"")
    assert find_inputs("0").images == [Path("0")]
    assert find_inputs("[1].jpg").images == [Path("[1].jpg")]
    assert find_inputs("1").videos == [1]


def test_cameras_and_addresses():
    address = "rtsp://me:secret@host.name:554/live/1?x=2"
    assert find_inputs([0, "3", address]).videos == [0, 3, address]
    assert stem_of(3) == "camera-3"
    assert stem_of(address) == "host-name-live-1"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("nothing.jpg", "nothing.jpg is no image, video or folder, or does not exist"),
        ("*.xyz", r"\*\.xyz matches no image or video"),
        ("-1", "-1 is no image"),
        ("ftp://host/a.jpg", "is no image, video or folder"),
    ],
)
def test_a_source_that_is_nothing_is_one_sentence(source, problem, tmp_path):
    with pytest.raises(ValueError, match=problem):
        find_inputs(source)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"has no image or video; looked for \.bmp"):
        find_inputs(tmp_path)


def test_images_and_frames_are_read_one_after_the_other(tmp_path):
    pytest.importorskip("av")
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 6, 3), 7, np.uint8))
    clip = write_clip(tmp_path / "b.mp4", corner_frames(5))
    found = list(read_inputs(tmp_path))
    assert [p.shape for p, _ in found] == [(4, 6, 3)] + [(48, 64, 3)] * 5
    assert [path for _, path in found] == [tmp_path / "a.png"] + [clip] * 5


def test_a_missing_source_is_an_error_at_once(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        read_inputs(tmp_path / "nothing")

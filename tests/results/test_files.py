import json
import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from yolact_jax.data.pixels import RGB
from yolact_jax.results.files import predict_files
from yolact_jax.results.instances import Instances
from yolact_jax.results.takeaway import TakeAway


class OneObject:
    """Finds one object in the middle of every image."""

    class_names = ("dog",)

    category_ids = (7,)

    pixels = RGB

    def stream(self, images, **options):
        for image in images:
            height, width = image.shape[:2]
            mask = np.zeros((1, height, width), bool)
            mask[:, height // 4 : height // 2, width // 4 : width // 2] = True
            box = np.array([[width / 4, height / 4, width / 2, height / 2]], np.float32)
            scores, labels = np.array([0.9], np.float32), np.zeros(1, np.int32)
            yield Instances(
                box,
                scores,
                labels,
                mask,
                class_names=("dog",),
                category_ids=(7,),
                image=image,
            )


def predict(source, output, **options):
    return predict_files(OneObject(), source, output, **options)


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for number, name in enumerate(("photo.png", "other.jpg")):
        cv2.imwrite(str(source / name), np.full((24, 32, 3), 80 * number, np.uint8))
    return source


def huge_png():
    """A PNG file that says that it is 30000 pixels square."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    parts = (header, b"IDAT" + zlib.compress(b"\0"), b"IEND")
    chunks = [
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
        for part in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


BAD = {
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "broken link": lambda path: path.symlink_to("nothing"),
    "link in a circle": lambda path: path.symlink_to(path.name),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("a page that was not found"),
    "claim": lambda path: path.write_bytes(huge_png()),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_image_is_named_and_the_others_are_done(folder, tmp_path, kind):
    BAD[kind](folder / "bad.png")
    (problem,) = predict(folder, tmp_path / "out")
    assert str(folder / "bad.png") in problem
    found = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [i["file_name"] for i in found["images"]] == ["other.jpg", "photo.png"]
    assert [a["image_id"] for a in found["annotations"]] == [1, 2]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["detections.json", "other.png", "photo.png"]


def test_names_as_long_as_file_systems_allow(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    image = cv2.imencode(".jpg", np.zeros((24, 32, 3), np.uint8))[1].tobytes()
    for suffix in (".jpg", ".jpeg"):
        (source / ("x" * (255 - len(suffix)) + suffix)).write_bytes(image)
        (source / ("y" * 200 + suffix)).write_bytes(image)
    assert predict(source, tmp_path / "out") == []
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


def test_three_images_of_nearly_one_name_have_three_pictures(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for name in ("x.jpg", "x.png", "x.jpg.png"):
        cv2.imwrite(str(source / name), np.zeros((24, 32, 3), np.uint8))
    predict(source, tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def test_photo_is_not_overwritten(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=r"photo\.png .* is an image of the source"):
        predict(folder, folder, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_photo_is_seen_upright(tmp_path):
    """As `convert` and training see it, whatever its orientation."""
    jpg = cv2.imencode(".jpg", np.zeros((24, 32, 3), np.uint8))[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
    (tmp_path / "turned.jpg").write_bytes(jpg[:2] + exif + jpg[2:])
    predict(tmp_path / "turned.jpg", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert (found["images"][0]["height"], found["images"][0]["width"]) == (32, 24)


def test_larger_images_are_allowed_on_request(folder, tmp_path):
    assert len(predict(folder, tmp_path / "small", max_pixels=767)) == 2
    assert predict(folder, tmp_path / "enough", max_pixels=768) == []


def test_file_names_lead_to_the_images(tmp_path, monkeypatch):
    """From the folder that has all sources, however they are named."""
    sizes = {"a/x.jpg": (24, 32), "b/x.jpg": (40, 60), "b/c/y.jpg": (16, 20)}
    for name, size in sizes.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "in" / name), np.zeros((*size, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    parts = ["in/a", "in/b/x.jpg", "in/a/x.jpg", "./in/b/c/*.jpg", tmp_path / "in/b"]
    patterns = ["in/**/*.jpg", "in/../in/**/[xy].jpg", f"{tmp_path}/in/*/**/*"]
    for number, source in enumerate(["in", *patterns, parts]):
        predict(source, f"out{number}", recursive=True)
        found = json.loads((tmp_path / f"out{number}" / "detections.json").read_text())
        listed = {i["file_name"]: (i["height"], i["width"]) for i in found["images"]}
        assert listed == sizes, source
        assert len(found["images"]) == 3, source


def test_a_second_call_has_the_sources_of_the_first(tmp_path):
    """Results are no sources, wherever they are and however the sources are named."""
    ways = {
        "same folder": (".", ".", False),
        "same folder, with its folders": (".", ".", True),
        "pattern of the same folder": ("*.*", ".", False),
        "folders of the folder": (".", "out", True),
        "pattern of folders": ("**/*.*", "out", False),
    }
    for way, (source, output, recursive) in ways.items():
        folder = tmp_path / way
        (folder / "sub").mkdir(parents=True)
        for name in ("a.jpg", "sub/b.jpg"):
            cv2.imwrite(str(folder / name), np.zeros((24, 32, 3), np.uint8))
        take_away = TakeAway(masks=folder / "masks", crops=folder / "crops")
        options = {"take_away": take_away, "recursive": recursive}
        assert predict(f"{folder}/{source}", folder / output, **options) == [], way
        files = {path: path.stat().st_size for path in folder.rglob("*")}
        for _ in range(2):
            again = predict(
                f"{folder}/{source}", folder / output, overwrite=True, **options
            )
            assert again == [], way
        assert {path: path.stat().st_size for path in folder.rglob("*")} == files, way


def test_a_result_that_is_named_as_a_source_is_not_replaced(folder, tmp_path):
    take_away = TakeAway(crops=tmp_path / "crops")
    predict(folder, tmp_path / "out", take_away=take_away)
    cut_out = tmp_path / "crops" / "other" / "1.png"
    before = cut_out.read_bytes()
    sources = {cut_out: "is the result of", cut_out.parent: "has no image"}
    for source, message in sources.items():
        with pytest.raises(ValueError, match=message):
            predict(source, tmp_path / "new", take_away=take_away, overwrite=True)
        assert cut_out.read_bytes() == before


def test_a_picture_that_was_never_written_is_no_earlier_result(folder):
    (folder / "photo.png").rename(folder / "photo.jpg")
    (folder / "bad.jpg").write_bytes(b"")
    assert len(predict(folder, folder)) == 1
    own = cv2.imencode(".png", np.zeros((24, 32, 3), np.uint8))[1].tobytes()
    (folder / "bad.png").write_bytes(own)
    (folder / "bad.jpg").write_bytes(own)
    predict(folder, folder, overwrite=True)
    assert (folder / "bad.png").read_bytes() == own

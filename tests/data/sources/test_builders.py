"""The builders as users of TFDS know them; a server of this process has the files."""

import copy
import json
import subprocess
import sys
import zipfile

import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import compute_url_info

import yolact_jax.data.sources.builders
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records import prepare
from yolact_jax.data.records.dataset import coco_ground_truth, open_dataset
from yolact_jax.data.sources import sbd_builder
from yolact_jax.data.sources.coco_release import YolactCoco, prepare_release

NAMES = {"train": "train", "validation": "val"}


def zipped(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


class Release:
    """Tiny official archives, and the folder they unpack to."""

    def __init__(self, root, coco, year="2017"):
        self.root, self.year, self.content = root, year, coco.content
        pictures = {path.name: path.read_bytes() for path in coco.images.iterdir()}
        train, test = copy.deepcopy(coco.content), copy.deepcopy(coco.content)
        del test["annotations"]
        files = {
            f"annotations_trainval{year}": {
                f"annotations/instances_{name}{year}.json": json.dumps(train)
                for name in ("train", "val")
            },
            f"image_info_test{year}": {
                f"annotations/image_info_test-dev{year}.json": json.dumps(test),
                f"annotations/image_info_test{year}.json": json.dumps(test),
            },
        }
        for name in ("train", "val", "test"):
            files[name + year] = {f"{name}{year}/{k}": v for k, v in pictures.items()}
        self.files = files

    def zip(self):
        for archive, files in self.files.items():
            zipped(self.root / f"{archive}.zip", files)
        return self

    def unpack(self):
        for files in self.files.values():
            for name, data in files.items():
                path = self.root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return self


@pytest.fixture
def release(coco, tmp_path):
    return Release(tmp_path / "release", coco)


@pytest.fixture
def served(release, server, monkeypatch):
    """The archives where the builder downloads them, with checksums of their own."""
    release.zip()
    infos = {}
    for config in YolactCoco.BUILDER_CONFIGS:
        for where in config.splits.values():
            for field in ("annotations_url", "images_url"):
                url = getattr(where, field)
                path = release.root / url.rpartition("/")[2]
                if path.is_file():
                    infos[f"{server}/{path.name}"] = compute_url_info(path)
                    monkeypatch.setitem(where.__dict__, field, f"{server}/{path.name}")
    monkeypatch.setattr(YolactCoco, "url_infos", infos)
    return infos


def by_id(entries):
    return sorted(entries, key=lambda entry: entry["id"])


def test_coco_is_downloaded_and_read_as_tfds_users_expect(served, release, tmp_path):
    builder = tfds.builder("yolact_coco/2017", data_dir=tmp_path / "records")
    builder.download_and_prepare()
    assert set(builder.info.splits) == {"train", "validation", "test_dev"}
    again = tfds.builder("yolact_coco/2017", data_dir=tmp_path / "records")
    source = again.as_data_source("train")
    assert [record["image_id"] for record in source] == [9, 7, 300]
    assert source[1]["image"].shape == (40, 60, 3)
    assert source[1]["annotation_id"].tolist() == [11, 900, 14, 15]
    assert list(again.info.metadata["class_names"]) == ["car", "dog"]
    dataset = open_dataset(again.data_path)
    assert dataset.splits == ("train", "validation", "test_dev")
    for split in ("train", "validation"):
        rebuilt = coco_ground_truth(dataset.source(split))
        expected = by_id(release.content["annotations"])
        assert by_id(rebuilt["annotations"]) == expected
    test = dataset.source("test_dev")
    assert [example.image_id for example in test] == [9, 7, 300]
    assert test.num_objects.tolist() == [0, 0, 0]


def test_release_without_test_images_downloads_none(served, tmp_path):
    dataset = prepare_release("2017", data_dir=tmp_path / "records")
    assert dataset.splits == ("train", "validation")
    names = [path.name for path in (tmp_path / "records" / "downloads").rglob("*.zip")]
    assert len(names) == 3
    assert not [name for name in names if "test" in name]
    assert prepare_release("2017", data_dir=tmp_path / "records") == dataset


def test_records_with_test_images_serve_training_too(served, tmp_path):
    tfds.builder("yolact_coco/2017", data_dir=tmp_path).download_and_prepare()
    dataset = prepare_release("2017", data_dir=tmp_path)
    assert dataset.splits == ("train", "validation", "test_dev")


def test_year_2014_has_a_test_split(coco, tmp_path):
    folder = Release(tmp_path / "release", coco, year="2014").unpack().root
    config = tfds.download.DownloadConfig(manual_dir=folder)
    builder = tfds.builder("yolact_coco/2014", data_dir=tmp_path / "records")
    builder.download_and_prepare(download_config=config)
    assert set(builder.info.splits) == {"train", "validation", "test"}


def test_unpacked_folder_needs_no_download(release, tmp_path):
    config = tfds.download.DownloadConfig(manual_dir=release.unpack().root)
    builder = tfds.builder("yolact_coco/2017", data_dir=tmp_path / "records")
    builder.download_and_prepare(download_config=config)
    assert len(builder.as_data_source("validation")) == 3
    dataset = prepare_release(
        "2017", data_dir=tmp_path / "records", folder=release.root
    )
    assert dataset.splits == ("train", "validation")
    assert [example.image_id for example in dataset.source("train")] == [9, 7, 300]


def test_missing_images_in_an_unpacked_folder_are_an_error(release, tmp_path):
    (release.unpack().root / "train2017" / "nine.jpg").unlink()
    config = tfds.download.DownloadConfig(manual_dir=release.root)
    builder = tfds.builder("yolact_coco/2017", data_dir=tmp_path / "records")
    with pytest.raises(DatasetError, match=r"image 9 has `file_name` 'nine\.jpg'"):
        builder.download_and_prepare(download_config=config)
    assert not builder.data_path.parent.exists()


def test_bad_images_of_official_archives_are_left_out_and_recorded(
    release, server, served, tmp_path, capsys
):
    release.files["train2017"]["train2017/nine.jpg"] = b"nothing"
    release.zip()
    info = compute_url_info(release.root / "train2017.zip")
    served[f"{server}/train2017.zip"] = info
    dataset = prepare_release("2017", data_dir=tmp_path / "records")
    assert [example.image_id for example in dataset.source("train")] == [7, 300]
    assert len(dataset.skipped) == 1
    assert "nine.jpg" in dataset.skipped[0]
    assert "left out 1 bad annotations or images" in capsys.readouterr().err


@pytest.mark.parametrize("archive", ["val2017.zip", "annotations_trainval2017.zip"])
def test_archive_of_another_checksum_is_refused(served, release, tmp_path, archive):
    """A download that was cut, or tampered with, never becomes records."""
    zipped(release.root / archive, {"other": b"content"})
    with pytest.raises(DatasetError, match="wrong checksum"):
        prepare_release("2017", data_dir=tmp_path / "records")
    assert not prepare.find_prepared(YolactCoco, "2017_trainval", tmp_path / "records")


def test_file_that_the_server_has_not_is_one_sentence(served, release, tmp_path):
    (release.root / "val2017.zip").rename(release.root / "elsewhere")
    with pytest.raises(DatasetError, match=r"2017_trainval could not be downloaded"):
        prepare_release("2017", data_dir=tmp_path / "records")
    (release.root / "elsewhere").rename(release.root / "val2017.zip")
    assert prepare_release("2017", data_dir=tmp_path / "records").splits


def test_every_official_file_has_a_registered_checksum():
    urls = {
        url
        for config in YolactCoco.BUILDER_CONFIGS
        for where in config.splits.values()
        for url in (where.annotations_url, where.images_url)
    }
    assert len(urls) == 10
    assert urls | {sbd_builder._ARCHIVE_URL} == set(YolactCoco.url_infos)
    for info in YolactCoco.url_infos.values():
        assert len(bytes.fromhex(info.checksum)) == 32
    # From the page of COCO: 118K/18GB, 5K/1GB, 241MB.
    sizes = {
        url.rpartition("/")[2]: int(i.size) for url, i in YolactCoco.url_infos.items()
    }
    assert sizes["train2017.zip"] == pytest.approx(18 * 2**30, rel=0.03)
    assert sizes["val2014.zip"] == pytest.approx(6.2 * 2**30, rel=0.03)
    assert sizes["annotations_trainval2017.zip"] == pytest.approx(241 * 2**20, rel=0.01)


def test_registered_checksums_guard_archives_that_the_user_brings(release, tmp_path):
    """The real checksums: these tiny files are not the official ones."""
    config = tfds.download.DownloadConfig(manual_dir=release.zip().root)
    builder = tfds.builder("yolact_coco/2017_trainval", data_dir=tmp_path / "records")
    with pytest.raises(Exception, match="wrong checksum"):
        builder.download_and_prepare(download_config=config)


def test_shapes_by_name(tmp_path, monkeypatch):
    (config,) = yolact_jax.data.sources.builders.YolactShapes.BUILDER_CONFIGS
    monkeypatch.setattr(config, "num_images", {"train": 3, "validation": 1})
    builder = tfds.builder("yolact_shapes", data_dir=tmp_path)
    builder.download_and_prepare()
    assert len(builder.as_data_source("train")) == 3
    assert [e.image_id for e in open_dataset(builder.data_path).source("validation")]


def test_builders_need_neither_tensorflow_nor_jax(release, tmp_path):
    release.unpack()
    code = f"""
import sys
import tensorflow_datasets as tfds
import yolact_jax.data.sources.builders

builder = tfds.builder("yolact_coco/2017_trainval", data_dir={str(tmp_path)!r})
config = tfds.download.DownloadConfig(manual_dir={str(release.root)!r})
builder.download_and_prepare(download_config=config)
print(builder.as_data_source("train")[0]["image"].shape)
print([name for name in ("tensorflow", "jax") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("(40, 60, 3)\n[]\n")

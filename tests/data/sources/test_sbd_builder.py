import json
import sys
import tarfile

import numpy as np
import pytest
import simplejpeg
import tensorflow_datasets as tfds
from pycocotools import mask as coco_mask
from tensorflow_datasets.core.download.checksums import compute_url_info

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records.dataset import coco_ground_truth
from yolact_jax.data.sources import sbd_builder
from yolact_jax.data.sources.sbd_builder import YolactSbd, prepare_sbd
from yolact_jax.tools import convert

scipy_io = pytest.importorskip("scipy.io")
NAMES = {"train.txt": ["2008_000002", "2008_000003"], "val.txt": ["2008_000008"]}


def instances_of(place):
    """Two rectangles, the second over the first: a mask that is not convex."""
    instances = np.zeros((30, 40), np.uint8)
    instances[5:20, 4 : 20 + place] = 1
    instances[10:25, 10:30] = 2
    return instances


def write_instances(file, instances, categories):
    content = {
        "Segmentation": instances,
        "Categories": np.array(categories, np.float64)[:, None],
    }
    scipy_io.savemat(file, {"GTinst": content})


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "sbd" / "benchmark_RELEASE" / "dataset"
    for name in ("img", "inst"):
        (root / name).mkdir(parents=True)
    for file, names in NAMES.items():
        (root / file).write_text("".join(f"{name}\n" for name in names))
    for place, name in enumerate([*NAMES["train.txt"], *NAMES["val.txt"]]):
        pixels = np.full((30, 40, 3), 60 * place, np.uint8)
        (root / "img" / f"{name}.jpg").write_bytes(simplejpeg.encode_jpeg(pixels))
        write_instances(root / "inst" / f"{name}.mat", instances_of(place), [15, 1])
    return root


def prepare(folder, **options):
    root = folder.parents[1]
    return prepare_sbd(data_dir=root.parent / "records", folder=root, **options)


def test_official_split_with_running_ids_and_exact_masks(folder):
    dataset = prepare(folder)
    assert len(dataset.class_names) == 20
    assert (dataset.class_names[0], dataset.class_names[14]) == ("aeroplane", "person")
    train, validation = (
        coco_ground_truth(dataset.source(split)) for split in ("train", "validation")
    )
    assert [entry["id"] for entry in train["images"]] == [1, 2]
    assert [entry["file_name"] for entry in train["images"]] == [
        "2008_000002.jpg",
        "2008_000003.jpg",
    ]
    assert [entry["id"] for entry in validation["images"]] == [3]
    annotations = train["annotations"] + validation["annotations"]
    assert [entry["id"] for entry in annotations] == [1, 2, 3, 4, 5, 6]
    assert [entry["category_id"] for entry in annotations] == [15, 1] * 3
    for number, entry in enumerate(annotations):
        expected = instances_of(number // 2) == number % 2 + 1
        found = coco_mask.decode(entry["segmentation"])
        np.testing.assert_array_equal(found, expected)
        assert entry["area"] == expected.sum()
        assert entry["iscrowd"] == 0
    # From the first to the last pixel, as the paper's conversion has it.
    assert annotations[1]["bbox"] == [10, 10, 19, 14]


def test_conversion_to_json_writes_both_splits(folder, capsys):
    out = folder.parents[2] / "made"
    convert.main(["sbd", f"--folder={folder}", f"--out={out}"])
    assert "1 images, 2 annotations, 20 categories" in capsys.readouterr().out
    written = json.loads((out / "pascal_sbd_train.json").read_text())
    assert written == coco_ground_truth(prepare(folder).source("train"))
    written = json.loads((out / "pascal_sbd_val.json").read_text())
    assert [entry["file_name"] for entry in written["images"]] == ["2008_000008.jpg"]


def test_second_preparation_reuses_the_records(folder):
    first = prepare(folder)
    assert prepare(folder) == first
    moved = folder.rename(folder.parent / "dataset2").parent / "dataset2"
    elsewhere = moved.parents[1] / "elsewhere" / "dataset"
    elsewhere.parent.mkdir()
    moved.rename(elsewhere)
    again = prepare_sbd(data_dir=first.directory.parents[2], folder=elsewhere)
    assert again == first


def test_a_replaced_image_is_prepared_anew(folder):
    first = prepare(folder)
    image = folder / "img" / "2008_000002.jpg"
    image.write_bytes(image.read_bytes() + b"tail")
    second = prepare(folder)
    assert second.directory != first.directory
    assert second.fingerprint == first.fingerprint


def test_all_bad_files_are_named_and_nothing_is_left(folder):
    write_instances(folder / "inst" / "2008_000003.mat", instances_of(0), [1, 21])
    write_instances(folder / "inst" / "2008_000008.mat", instances_of(0), [1])
    (folder / "img" / "2008_000002.jpg").write_bytes(b"nothing")
    with pytest.raises(DatasetError) as caught:
        prepare(folder)
    first, second, third = caught.value.problems
    assert "2008_000002.jpg: the file is not an image" in first
    assert "2008_000003.mat: has categories [21], not 1..20" in second
    assert "2008_000008.mat: shows the instances [1, 2], but has" in third
    assert not list((folder.parents[2] / "records").rglob("*"))


def test_skip_bad_goes_on_and_records_what_was_skipped(folder):
    (folder / "inst" / "2008_000002.mat").write_bytes(b"nothing")
    dataset = prepare(folder, skip_bad=True)
    assert [example.image_id for example in dataset.source("train")] == [2]
    (skipped,) = dataset.skipped
    assert "2008_000002.mat: cannot be read as a Matlab file" in skipped


def test_missing_parts_are_named(folder, tmp_path):
    (folder / "val.txt").unlink()
    with pytest.raises(DatasetError, match=r"dataset lacks val\.txt"):
        prepare(folder)
    with pytest.raises(DatasetError, match=r"Pascal SBD is not in .*elsewhere"):
        prepare_sbd(data_dir=tmp_path / "records", folder=tmp_path / "elsewhere")


def test_missing_scipy_is_one_sentence(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DatasetError, match=r"pip install 'yolact_jax\[sbd\]'"):
        prepare(folder)


@pytest.fixture
def archive(folder, server, tmp_path, monkeypatch):
    """The official archive, made up, where the builder downloads it."""
    path = tmp_path / "release" / "benchmark.tgz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder.parent, arcname="benchmark_RELEASE")
    url = f"{server}/{path.name}"
    monkeypatch.setattr(sbd_builder, "_ARCHIVE_URL", url)
    monkeypatch.setattr(YolactSbd, "url_infos", {url: compute_url_info(path)})
    return path


def test_archive_is_downloaded(folder, archive, tmp_path):
    builder = tfds.builder("yolact_sbd", data_dir=tmp_path / "native")
    builder.download_and_prepare()
    assert len(builder.as_data_source("train")) == 2
    dataset = prepare_sbd(data_dir=tmp_path / "native")
    assert dataset.directory == builder.data_path
    for split in ("train", "validation"):
        found = coco_ground_truth(dataset.source(split))
        assert found == coco_ground_truth(prepare(folder).source(split))


def test_unpacked_folder_serves_the_builder_too(folder, tmp_path):
    config = tfds.download.DownloadConfig(manual_dir=folder.parents[1])
    builder = tfds.builder("yolact_sbd/2012", data_dir=tmp_path / "native")
    builder.download_and_prepare(download_config=config)
    assert len(builder.as_data_source("validation")) == 1


def test_archive_of_another_checksum_is_refused(archive, tmp_path):
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="wrong checksum"):
        prepare_sbd(data_dir=tmp_path / "native")


def test_records_do_not_depend_on_threads(folder, tmp_path):
    rebuilt = []
    for threads in (1, 5):
        config = sbd_builder.SbdConfig(
            name=f"{threads}", folder=folder, num_threads=threads, version="1.0.0"
        )
        builder = YolactSbd(config=config, data_dir=tmp_path / "native")
        builder.download_and_prepare()
        rebuilt.append([dict(record) for record in builder.as_data_source("train")])
    for first, second in zip(*rebuilt, strict=True):
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])

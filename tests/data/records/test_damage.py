"""Damaged records are one sentence that names the file and the cure, or unharmed."""

import random
import shutil

import pytest

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records import builder
from yolact_jax.data.records.dataset import coco_ground_truth, open_dataset
from yolact_jax.data.sources.coco_builder import prepare_coco


@pytest.fixture
def dataset(coco, tmp_path):
    return prepare_coco(data_dir=tmp_path / "records", **coco.arguments())


def read_all(directory):
    """Opens records and reads all that is in them."""
    dataset = open_dataset(directory)
    content = []
    for split in dataset.splits:
        source = dataset.source(split)
        content.append(coco_ground_truth(source))
        content.append([example.image_bytes for example in source])
        content.append(source.num_objects.tolist())
    return content


def is_told(directory):
    """Whether reading fails with the sentence that it should."""
    with pytest.raises(DatasetError) as caught:
        read_all(directory)
    (problem,) = caught.value.problems
    assert problem.startswith(str(directory))
    assert f"delete the folder {directory}, so that the records are prep" in problem
    return problem.partition(": ")[0].rpartition("/")[2]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe\xfd", b"[" * 100_000]
)
@pytest.mark.parametrize("name", ["dataset_info.json", "metadata.json"])
def test_damaged_descriptions_are_named(dataset, name, content):
    (dataset.directory / name).write_bytes(content)
    told = is_told(dataset.directory)
    assert told == name or content in (b"[]", b"null", b"{}")


@pytest.mark.parametrize("name", ["metadata.json", "features.json"])
def test_missing_descriptions_are_told(dataset, name):
    (dataset.directory / name).unlink()
    assert is_told(dataset.directory) == name


@pytest.mark.parametrize("keep", [0, 10, 1000, -1, -100])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_truncated_records_are_named(dataset, split, keep):
    (file,) = dataset.directory.glob(f"*-{split}.*")
    file.write_bytes(file.read_bytes()[:keep])
    assert is_told(dataset.directory) == file.name


def test_of_several_files_the_damaged_one_is_named(coco, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "_RECORDS_PER_SHARD", 1)
    directory = prepare_coco(data_dir=tmp_path / "r", **coco.arguments()).directory
    file = sorted(directory.glob("*-train.*"))[1]
    file.write_bytes(file.read_bytes()[:1000])
    assert is_told(directory) == file.name


def test_missing_records_are_named(dataset):
    (file,) = dataset.directory.glob("*-validation.*")
    file.unlink()
    assert is_told(dataset.directory) == file.name


def test_metadata_of_other_records_are_told(dataset):
    file = dataset.directory / "metadata.json"
    text = file.read_text().replace('"train": [1, 3, 0]', '"train": [1, 3]')
    file.write_text(text)
    is_told(dataset.directory)


def test_the_next_preparation_tells_the_cure_which_helps(coco, dataset, tmp_path):
    (dataset.directory / "dataset_info.json").write_bytes(b"")
    with pytest.raises(DatasetError, match="delete the folder"):
        prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    shutil.rmtree(dataset.directory)
    again = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    assert again == dataset


def change(file, rng):
    data = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 4, 40))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    file.write_bytes(data)


def problem_of(directory):
    """The sentence that reading ends with, if it does."""
    try:
        read_all(directory)
    except DatasetError as error:
        return str(error)
    return None


def check_changed_records(dataset, tmp_path, seed, count):
    """Changes bytes of the files of records, which have checksums."""
    before, rng, told = read_all(dataset.directory), random.Random(seed), 0
    for number in range(count):
        copied = tmp_path / f"copy{number}" / "1.0.0"
        shutil.copytree(dataset.directory, copied)
        change(rng.choice(sorted(copied.glob("*array_record*"))), rng)
        problem = problem_of(copied)
        if problem is None:  # The files end in much that is not used.
            assert read_all(copied) == before
        else:
            told += 1
            assert "array_record" in problem
            assert f"delete the folder {copied}" in problem
        shutil.rmtree(copied.parent)
    assert told


def test_changed_records_are_told(dataset, tmp_path):
    check_changed_records(dataset, tmp_path, seed=0, count=20)


@pytest.mark.slow
def test_many_changed_records_are_told(dataset, tmp_path):
    check_changed_records(dataset, tmp_path, seed=1, count=200)


def check_changed_descriptions(dataset, tmp_path, seed, count):
    """Changes bytes of the json files, of which some are names and numbers."""
    rng = random.Random(seed)
    for number in range(count):
        copied = tmp_path / f"copy{number}" / "1.0.0"
        shutil.copytree(dataset.directory, copied)
        change(rng.choice(sorted(copied.glob("*.json"))), rng)
        problem = problem_of(copied)
        assert problem is None or f"delete the folder {copied}" in problem
        shutil.rmtree(copied.parent)


def test_changed_descriptions_are_told(dataset, tmp_path):
    check_changed_descriptions(dataset, tmp_path, seed=0, count=20)


@pytest.mark.slow
def test_many_changed_descriptions_are_told(dataset, tmp_path):
    check_changed_descriptions(dataset, tmp_path, seed=1, count=300)

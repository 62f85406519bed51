"""Preparations that are killed, slow, parallel or repeated."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records import builder as builder_lib
from yolact_jax.data.records import leftovers
from yolact_jax.data.records.dataset import open_dataset
from yolact_jax.data.sources import coco_builder, coco_json
from yolact_jax.data.sources.coco_builder import prepare_coco

RECORDS = "*array_record*"
# Stops for good before the last image.
KILLED = """
import sys, time
from yolact_jax.data.sources import coco_builder

checked_image = coco_builder._checked_image

def slow(path, *more):
    if path.name == "last.jpg":
        time.sleep(1000)
    return checked_image(path, *more)

coco_builder._checked_image = slow
coco_builder.prepare_coco(
    data_dir=sys.argv[1],
    train_annotations=None,
    train_images=None,
    validation_annotations=sys.argv[2],
    validation_images=sys.argv[3],
)
"""


def many_images(coco, count=200):
    """More images than are read ahead, the last one called so."""
    first = coco.content["images"][0]
    data = (coco.images / first["file_name"]).read_bytes()
    for index in range(count):
        name = "last.jpg" if index == count - 1 else f"{index}.jpg"
        (coco.images / name).write_bytes(data)
        entry = {**first, "id": 1000 + index, "file_name": name}
        coco.content["images"].append(entry)
    return coco.write()


def unfinished(directory):
    return list(directory.rglob("incomplete.*"))


def wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise TimeoutError


@pytest.fixture
def killed(coco, tmp_path):
    """Folder of records that a killed process left, and the arguments it had."""
    many_images(coco)
    records = tmp_path / "records"
    arguments = [str(path) for path in (records, coco.file, coco.images)]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments])
    wait_for(lambda: [f for u in unfinished(records) for f in u.glob(RECORDS)])
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    arguments = {**coco.arguments(), "train_annotations": None, "train_images": None}
    return records, arguments


def test_killed_preparation_is_never_taken_for_whole(killed):
    records, arguments = killed
    (left,) = unfinished(records)
    assert list(left.glob(RECORDS))
    assert not list(records.rglob("dataset_info.json"))
    dataset = prepare_coco(data_dir=records, **arguments)
    assert len(dataset.source("validation")) == 203
    assert dataset.source("validation")[202].file_name == "last.jpg"
    assert unfinished(records) == []


def writing(folder):
    """A process that goes on writing records in a folder."""
    code = f"""
import sys
from yolact_jax.data.records import leftovers
with leftovers.removed({str(folder)!r}):
    print("locked", flush=True)
    sys.stdin.read()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], **pipes)
    assert process.stdout.readline() == b"locked\n"
    return process


def test_records_that_another_process_is_writing_are_left_alone(tmp_path):
    """Two processes may prepare the same set; neither harms the other."""
    mine = tmp_path / "set" / "incomplete.ABC_1.1.0"
    process = writing(mine.parent)
    try:
        mine.mkdir()
        with leftovers.removed(mine.parent):
            assert mine.is_dir()
    finally:
        process.kill()
        process.wait()
    with leftovers.removed(mine.parent):
        assert not mine.exists()
    assert not mine.parent.exists()


def test_records_are_left_alone_when_the_first_of_their_writers_is_killed(tmp_path):
    mine = tmp_path / "set" / "incomplete.ABC_1.1.0"
    first, second = writing(mine.parent), writing(mine.parent)
    try:
        mine.mkdir()
        first.kill()
        first.wait()
        with leftovers.removed(mine.parent):
            assert mine.is_dir()
    finally:
        second.kill()
        second.wait()
    with leftovers.removed(mine.parent):
        assert not mine.exists()


def test_records_that_do_not_fit_on_the_disk_are_an_error_of_the_system(tmp_path):
    resource = pytest.importorskip("resource")
    code = f"""
import resource
from yolact_jax.data.sources.shapes_builder import prepare_shapes
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, {resource.RLIM_INFINITY}))
try:
    prepare_shapes(data_dir={str(tmp_path)!r}, num_train=40, num_validation=1,
                   image_size=128, seed=0)
except OSError as error:
    print(error.strerror, error.filename.startswith({str(tmp_path)!r}))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert run.stdout == f"{os.strerror(errno.EFBIG)} True\n", run.stderr
    assert unfinished(tmp_path) == []


def digests(directory):
    """Content of the record files by name."""
    files = sorted(directory.glob(RECORDS))
    assert files
    return [(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files]


def test_records_are_the_same_for_any_number_of_threads(coco, tmp_path):
    many_images(coco)
    made = [
        prepare_coco(data_dir=tmp_path / f"{n}", num_threads=n, **coco.arguments())
        for n in (1, 7)
    ]
    assert digests(made[0].directory) == digests(made[1].directory)


def test_bad_images_come_in_order_for_any_number_of_threads(coco, tmp_path):
    many_images(coco)
    bad = ["last.jpg", "9.jpg", "100.jpg", "seven.jpg"]
    for name in bad:
        (coco.images / name).write_bytes(b"nothing")
    arguments = {**coco.arguments(), "train_annotations": None, "train_images": None}
    with pytest.raises(DatasetError) as caught:
        prepare_coco(data_dir=tmp_path / "records", num_threads=5, **arguments)
    named = [problem.partition(":")[0] for problem in caught.value.problems]
    expected = ["seven.jpg", "9.jpg", "100.jpg", "last.jpg"]
    assert named == [str(coco.images / name) for name in expected]


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(builder_lib, "_RECORDS_PER_SHARD", 2)


def test_records_go_to_several_files_in_order(coco, tmp_path, small_shards):
    many_images(coco, count=6)
    dataset = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    assert len(digests(dataset.directory)) == 2 * 5
    ids = [example.image_id for example in dataset.source("train")]
    assert ids == [9, 7, 300, *range(1000, 1006)]


def test_a_file_may_stay_without_records(coco, tmp_path, small_shards):
    many_images(coco, count=6)
    for name in ("0.jpg", "1.jpg", "2.jpg", "3.jpg", "last.jpg"):
        (coco.images / name).write_bytes(b"nothing")
    dataset = prepare_coco(
        data_dir=tmp_path / "records", skip_bad=True, **coco.arguments()
    )
    source = dataset.source("train")
    assert [example.image_id for example in source] == [9, 7, 300, 1004]
    assert len(source) == 4
    assert len(dataset.skipped) == 10


def test_preparing_again_after_an_error_starts_anew(coco, tmp_path):
    data = (coco.images / "nine.jpg").read_bytes()
    (coco.images / "nine.jpg").write_bytes(b"nothing")
    sets = {"train": coco_json.read_coco(coco.file, coco.images)}
    config = coco_builder.CocoConfig(name="mine", version="1.0.0", sets=sets)
    builder = coco_builder.CocoFolder(config=config, data_dir=tmp_path / "records")
    with pytest.raises(DatasetError):
        builder.download_and_prepare()
    (coco.images / "nine.jpg").write_bytes(data)
    builder.download_and_prepare()
    dataset = open_dataset(builder.data_path)
    assert len(dataset.source("train")) == 3
    assert dataset.skipped == ()


def test_images_are_checked_in_several_threads(coco, tmp_path, monkeypatch):
    import threading

    barrier = threading.Barrier(3, timeout=60)
    checked_image = coco_builder._checked_image

    def together(*arguments):
        barrier.wait()  # Never passes unless three images are checked at a time.
        return checked_image(*arguments)

    monkeypatch.setattr(coco_builder, "_checked_image", together)
    dataset = prepare_coco(
        data_dir=tmp_path / "records", num_threads=3, **coco.arguments()
    )
    assert len(dataset.source("train")) == 3


def test_progress_tells_how_long_it_takes(monkeypatch, capsys):
    seconds = iter([0.0, 4.0, 12.0, 14.0, 40.0])
    monkeypatch.setattr(builder_lib.time, "monotonic", lambda: next(seconds))
    items = list(builder_lib.reported("abcd", "train images", 4))
    assert items == list("abcd")
    assert capsys.readouterr().err.splitlines() == [
        "prepared 2 of 4 train images, 0/s, 12 s to go",
        "prepared 4 of 4 train images, 0/s, 0 s to go",
    ]

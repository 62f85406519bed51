"""Batches are the same with a cache, whatever befalls it."""

import concurrent.futures
import pickle
import shutil
import threading

import numpy as np
import pytest

from tests.data.test_channels import tiff
from tests.data.test_pipeline import assert_equal, take
from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data import images
from yolact_jax.data.example import Annotations, Example, Segmentations
from yolact_jax.data.pixels import Pixels
from yolact_jax.data.records import cache
from yolact_jax.data.records.cache import CachedSource
from yolact_jax.data.sources.shapes_builder import prepare_shapes

KINDS = ("memory", "disk")


NOTHING = np.zeros(0, np.int64)
ANNOTATIONS = Annotations(
    *[NOTHING] * 5, Segmentations((9, 6), *[NOTHING] * 4, (), NOTHING)
)


class Source(list):
    """Examples of the split "train" of a folder."""

    def __init__(self, examples, directory, pixels):
        super().__init__(examples)
        self.directory, self.pixels, self.split = directory, pixels, "train"
        self.num_objects = np.zeros(len(examples), np.int64)


@pytest.fixture
def source(tmp_path):
    return prepare_shapes(
        data_dir=tmp_path, num_train=6, num_validation=1, image_size=48, seed=0
    ).source("train")


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded since."""
    names, decode = [], images.decode_values

    def counted(data, *, name, **options):
        names.append(name)
        return decode(data, name=name, **options)

    monkeypatch.setattr(images, "decode_values", counted)
    return names


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_the_same_and_images_are_decoded_once(kind, source, decoded):
    want = take(source, 8)
    decoded.clear()
    kept = CachedSource(source, kind)
    assert_equal(take(kept, 8), want)
    assert len(decoded) >= len(set(decoded)) == 6
    decoded.clear()
    assert_equal(take(kept, 8), want)
    assert not decoded


def test_a_later_run_finds_what_is_on_the_disk(source, decoded):
    want = [each.image for each in CachedSource(source, "disk")]
    decoded.clear()
    for found, image in zip(CachedSource(source, "disk"), want, strict=True):
        np.testing.assert_array_equal(found.image, image)
    assert not decoded


def test_loader_processes_share_it(source):
    kept = CachedSource(source, "disk")
    assert_equal(take(kept, 4, num_workers=2), take(source, 4))
    files = sorted((source.directory / "decoded").rglob("*.*"))
    assert len(files) == 6
    assert pickle.loads(pickle.dumps(kept))[3].image_id == source[3].image_id


@pytest.mark.parametrize("damage", [b"", b"short", bytes(3 * 48 * 48 + 1)])
def test_a_damaged_file_is_written_again(damage, source):
    kept = CachedSource(source, "disk")
    want = kept[2].image.copy()
    (file,) = (source.directory / "decoded").rglob("*2.raw")
    file.write_bytes(damage)
    np.testing.assert_array_equal(kept[2].image, want)
    assert file.read_bytes() == want.tobytes()


def test_another_window_has_images_of_its_own(source):
    plain = CachedSource(source, "disk")[0].image
    source.pixels = Pixels(3, (0.0,) * 3, (100.0,) * 3)
    windowed = CachedSource(source, "disk")[0].image
    np.testing.assert_array_equal(windowed, source[0].image)
    assert (windowed != plain).any()


def test_images_in_memory_cannot_be_changed(source):
    kept = CachedSource(source, "memory")
    for _ in range(2):
        assert not kept[0].image.flags.writeable


@pytest.mark.parametrize("kind", KINDS)
def test_a_turned_file_of_16_bits_and_5_channels_stays_what_it_is(kind, tmp_path):
    numbers = np.random.default_rng(0).integers(0, 4096, (6, 9, 5), np.uint16)
    data = tiff(numbers, "pages")
    pixels = Pixels(5, (10.0,) * 5, (3000.0,) * 5)
    example = Example(1, "a.tif", 9, 6, data, ANNOTATIONS, orientation=6, pixels=pixels)
    kept = CachedSource(Source([example], tmp_path, pixels), kind)
    want = example.image
    assert want.shape == (9, 6, 5)
    for _ in range(2):
        np.testing.assert_array_equal(kept[0].image, want)
        assert kept[0].picture.shape == (9, 6, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_another_shape_than_the_record_is_not_kept(kind, tmp_path):
    data = tiff(np.arange(54, dtype=np.uint8).reshape(6, 9, 1), "pages")
    example = Example(1, "a.tif", 9, 6, data, ANNOTATIONS, pixels=Pixels(1))
    kept = CachedSource(Source([example], tmp_path, Pixels(1)), kind)
    for _ in range(2):
        np.testing.assert_array_equal(kept[0].image, example.image)


def _warnings(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.endswith("records.cache")]


@pytest.mark.parametrize("kind", KINDS)
def test_where_there_is_no_room_images_are_decoded(kind, source, monkeypatch, caplog):
    monkeypatch.setitem(cache._LEAST_FREE, kind, 1.1)
    kept = CachedSource(source, kind)
    assert_equal(take(kept, 4), take(source, 4))
    (message,) = _warnings(caplog)
    assert f"config.data.cache is '{kind}'" in message
    assert not [*(source.directory / "decoded").rglob("*.raw")]


def test_of_many_threads_without_room_one_says_so(source, monkeypatch, caplog):
    together = threading.Barrier(4)

    def no_room(store):
        together.wait(timeout=30)
        return 0.0

    monkeypatch.setattr(cache._Memory, "free", no_room)
    kept = CachedSource(source, "memory")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(kept.__getitem__, range(4)))
    assert len(_warnings(caplog)) == 1


def test_a_disk_that_cannot_be_written_is_no_error(source, caplog):
    (source.directory / "decoded").write_text("a file where the folder should be")
    kept = CachedSource(source, "disk")
    assert_equal(take(kept, 4), take(source, 4))
    assert len(_warnings(caplog)) == 1


def test_deleted_records_do_not_come_back_without_content(source):
    kept = CachedSource(source, "disk")
    kept[0]  # Opens the records.
    shutil.rmtree(source.directory)
    kept[1]
    assert not source.directory.exists()


@pytest.mark.parametrize(
    ("machine", "container", "want"),
    [
        ("MemTotal: 1000 kB\nMemAvailable: 400 kB\n", None, 0.4),
        ("MemTotal: 1000 kB\n", None, 1.0),
        (None, None, 1.0),
        (None, ("max", "5", "inactive_file 1"), 1.0),
        (None, ("1000", "900", "anon 7\ninactive_file 200"), 0.3),
        ("MemTotal: 10\nMemAvailable: 1", ("1000", "0", "inactive_file 0"), 0.1),
    ],
)
def test_free_memory_is_that_of_machine_and_container(
    machine, container, want, source, tmp_path, monkeypatch
):
    monkeypatch.setattr(cache, "_MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(cache, "_CONTAINER", tmp_path)
    if machine:
        (tmp_path / "meminfo").write_text(machine)
    names = ("memory.max", "memory.current", "memory.stat")
    for name, text in zip(names, container or (), strict=False):
        (tmp_path / name).write_text(text)
    assert cache._Memory().free() == pytest.approx(want)


def test_records_with_a_cache_are_found_again(source, tmp_path):
    CachedSource(source, "disk")[0]
    again = prepare_shapes(
        data_dir=tmp_path, num_train=6, num_validation=1, image_size=48, seed=0
    )
    assert again.directory == source.directory
    shutil.rmtree(source.directory)
    assert not source.directory.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_config_turns_it_on(kind, source):
    config = Config().replace({"data.cache": kind, "train.batch_size": 2})
    with build.make_training_batches(config, source, 0) as batches:
        batch = next(batches)
    plain = config.replace({"data.cache": "no"})
    with build.make_training_batches(plain, source, 0) as batches:
        assert_equal([batch], [next(batches)])
    assert (source.directory / "decoded").exists() == (kind == "disk")


def test_memory_and_processes_are_refused():
    with pytest.raises(
        ValueError, match=r"config\.data\.cache is 'memory'; it must be"
    ):
        Config().replace({"data.cache": "memory", "data.num_workers": 2})

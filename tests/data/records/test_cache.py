"""Batches are the same with a cache, whatever befalls it."""

import pickle
import shutil

import numpy as np
import pytest

from tests.data.test_pipeline import assert_equal, take
from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data import images
from yolact_jax.data.pixels import Pixels
from yolact_jax.data.records import cache
from yolact_jax.data.records.cache import CachedSource
from yolact_jax.data.sources.shapes_builder import prepare_shapes

KINDS = ("memory", "disk")


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


@pytest.mark.parametrize("kind", KINDS)
def test_kept_images_cannot_be_changed(kind, source):
    kept = CachedSource(source, kind)
    for _ in range(2):
        image = kept[0].image
    assert not image.flags.writeable


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


def test_a_disk_that_cannot_be_written_is_no_error(source, caplog):
    (source.directory / "decoded").write_text("a file where the folder should be")
    kept = CachedSource(source, "disk")
    assert_equal(take(kept, 4), take(source, 4))
    assert len(_warnings(caplog)) == 1


def test_memory_whose_size_is_unknown_is_used(source, monkeypatch, tmp_path, decoded):
    monkeypatch.setattr(cache, "_MEMORY", tmp_path / "missing")
    kept = CachedSource(source, "memory")
    assert kept[1].image is kept[1].image
    assert len(decoded) == 1


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

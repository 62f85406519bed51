"""Weight files of both kinds, found by path or published name."""

import sys

import numpy as np
import pytest

from yolact_jax.weights import classes
from yolact_jax.weights import hub as hub_lib
from yolact_jax.weights.files import read_metadata, read_weights, write_safetensors

TENSORS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.count": np.zeros((), np.int64),
}


def test_safetensors_round_trip(tmp_path):
    path = tmp_path / "new" / "x.safetensors"
    write_safetensors(path, TENSORS, {"note": "hello"})
    loaded = read_weights(path)
    assert set(loaded) == set(TENSORS)
    for key, array in TENSORS.items():
        np.testing.assert_array_equal(loaded[key], array)
        assert loaded[key].dtype == array.dtype
    assert read_metadata(path)["note"] == "hello"
    assert [p.name for p in path.parent.iterdir()] == ["x.safetensors"]


def test_others_can_read_safetensors_as_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    write_safetensors(tmp_path / "x.safetensors", TENSORS)
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_prefix_of_data_parallel_is_taken_off(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {f"module.{key}": array for key, array in TENSORS.items()})
    assert set(read_weights(path)) == set(TENSORS)


def test_refuses_truncated_safetensors(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, TENSORS)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"x\.safetensors is damaged"):
        read_weights(path)


def test_refuses_missing_files_and_other_suffixes(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        read_weights(tmp_path / "x.pth")
    (tmp_path / "x.h5").touch()
    with pytest.raises(ValueError, match=r"ends in none of \.pth"):
        read_weights(tmp_path / "x.h5")
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        write_safetensors(tmp_path / "x.npz", TENSORS)


def test_says_which_package_safetensors_need(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    path.touch()
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ValueError, match=r"pip install .*weights"):
        read_weights(path)


def test_a_path_is_found_and_a_name_is_downloaded(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    path = tmp_path / "x.pth"
    path.touch()
    assert hub_lib.find_weights(str(path)) == path
    calls = []

    def download(repository, file):
        calls.append((repository, file))
        return str(path)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    assert hub_lib.find_weights("yolact_plus_base") == path
    assert hub_lib.find_weights("resnet101_reducedfc") == path
    assert calls == [
        ("dbolya/yolact-plus-base", "yolact_plus_base_54_800000.pth"),
        ("dbolya/yolact-initial-weights", "resnet101_reducedfc.pth"),
    ]


def test_says_what_to_do_without_a_network(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def download(*_):
        raise ConnectionError("unreachable")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(ValueError, match=r"without a network, fetch yolact_base_54_8"):
        hub_lib.find_weights("yolact_base")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"pip install .*weights"):
        hub_lib.find_weights("yolact_base")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("yolact_im400", "was never published"),
        ("yolact_resnet50_pascal", "not on the hub"),
        ("yolact_bse", "neither a file nor a published name"),
    ],
)
def test_refuses_names_without_weights(name, reason):
    with pytest.raises(ValueError, match=reason):
        hub_lib.find_weights(name)


def test_classes_are_complete():
    assert len(classes.COCO_NAMES) == len(set(classes.COCO_NAMES)) == 80
    assert len(classes.COCO_IDS) == 80
    by_id = dict(zip(classes.COCO_IDS, classes.COCO_NAMES, strict=True))
    assert (by_id[1], by_id[13], by_id[44], by_id[90]) == (
        "person",
        "stop sign",
        "bottle",
        "toothbrush",
    )
    assert by_id[67] == "dining table"
    assert len(classes.PASCAL_NAMES) == len(classes.PASCAL_IDS) == 20
    assert classes.PASCAL_NAMES[14] == "person"

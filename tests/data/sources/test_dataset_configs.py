"""Configs that name an official dataset."""

import numpy as np
import pytest

from yolact_jax import build
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records.dataset import coco_ground_truth
from yolact_jax.zoo.specs import spec


def release_folder(coco, root):
    for name in ("train", "val"):
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        file = root / "annotations" / f"instances_{name}2017.json"
        file.write_bytes(coco.file.read_bytes())
        (root / f"{name}2017").symlink_to(coco.images)
    return root


def test_config_names_an_official_release(coco, tmp_path):
    config = spec("coco").replace(
        {
            "data.dataset": "coco2017",
            "data.source_dir": str(release_folder(coco, tmp_path / "unpacked")),
            "data.records_dir": str(tmp_path / "records"),
        }
    )
    dataset = build.make_dataset(config)
    rebuilt = coco_ground_truth(dataset.source("train"))
    assert len(rebuilt["annotations"]) == len(coco.content["annotations"])
    config = config.replace({"data.source_dir": str(tmp_path / "elsewhere")})
    with pytest.raises(DatasetError, match=r"elsewhere.*train2017 does not exist"):
        build.make_dataset(config)


def test_config_of_pascal_trains_from_a_local_folder(tmp_path):
    pytest.importorskip("scipy")
    config = spec("yolact_resnet50_pascal").replace(
        {
            "data.records_dir": str(tmp_path / "records"),
            "data.source_dir": str(sbd_folder(tmp_path / "benchmark_RELEASE")),
            "train.batch_size": 2,
        }
    )
    dataset = build.make_dataset(config)
    with build.make_training_batches(config, dataset.source("train"), 0) as batches:
        batch = next(batches)
    assert batch["images"].shape == (2, 550, 550, 3)
    assert set(np.unique(batch["labels"][batch["valid"]])) <= {14, 0}
    assert batch["masks"].any()


def sbd_folder(root):
    import scipy.io
    import simplejpeg

    dataset = root / "dataset"
    for name in ("img", "inst"):
        (dataset / name).mkdir(parents=True)
    instances = np.zeros((60, 80), np.uint8)
    instances[5:40, 10:40], instances[30:50, 50:75] = 1, 2
    categories = np.array([[15.0], [1.0]])
    content = {"GTinst": {"Segmentation": instances, "Categories": categories}}
    for name in ("one", "two", "three"):
        scipy.io.savemat(dataset / "inst" / f"{name}.mat", content)
        pixels = np.full((60, 80, 3), 90, np.uint8)
        data = simplejpeg.encode_jpeg(pixels)
        (dataset / "img" / f"{name}.jpg").write_bytes(data)
    (dataset / "train.txt").write_text("one\ntwo\n")
    (dataset / "val.txt").write_text("three\n")
    return root

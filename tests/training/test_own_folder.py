"""`train --data` alone trains on a folder of any layout, as on its conversion."""

import numpy as np
import pytest

from tests.helpers import own_folders
from tests.helpers.runs import rows
from yolact_jax import build
from yolact_jax.run.folder import load_run
from yolact_jax.run.variables import choose_step
from yolact_jax.tools.commands.main import main

STEPS = 3
TINY = {
    "data.input_size": 64,
    "model.backbone": "resnet18",
    "model.backbone_width": 8,
    "model.features": 16,
    "model.num_prototypes": 4,
    "train.batch_size": 4,
    "train.num_steps": STEPS,
    "train.log_every_steps": 1,
    "optimizer.scale_with_batch": False,
    "eval.sample_images": 1,
    "eval.report": False,
}


def roboflow(tmp_path):
    folder = own_folders.roboflow(tmp_path)
    files = {
        split: (folder / name / "_annotations.coco.json", folder / name)
        for split, name in (("train", "train"), ("validation", "valid"))
    }
    return folder, own_folders.prepared_from(tmp_path, files)


def yolo(tmp_path):
    folder, places = tmp_path / "yolo", ("{}/images".format, "{}/labels".format)
    own_folders.yolo(folder, *places)
    classes = folder / "data.yaml"
    return folder, own_folders.converted(
        tmp_path, folder, "yolo", *places, classes=classes
    )


def labelme(tmp_path):
    folder, place = tmp_path / "labelme", "{}".format
    own_folders.labelme(folder, first="ad")
    return folder, own_folders.converted(tmp_path, folder, "labelme", place, place)


@pytest.mark.slow
@pytest.mark.parametrize("make", [roboflow, yolo, labelme], ids=lambda f: f.__name__)
def test_a_folder_trains_on_the_records_of_its_conversion(tmp_path, make):
    folder, expected = make(tmp_path)
    workdir, records = tmp_path / "run", tmp_path / "records"
    flags = [f"--config.{field}={value}" for field, value in TINY.items()]
    flags += [f"--config.data.records_dir={records}", f"--workdir={workdir}"]
    assert main(["train", f"--data={folder}", *flags]) == 0
    found = build.make_dataset(load_run(workdir).config)
    assert own_folders.records(found) == expected
    assert [len(expected[split]["images"]) for split in expected] == [3, 2]
    losses = [row["train/loss"] for row in rows(workdir) if "train/loss" in row]
    assert len(losses) == STEPS
    assert np.isfinite(losses).all()
    assert choose_step(workdir, "latest") == STEPS
    (evaluated,) = (row for row in rows(workdir) if "eval/mask_AP" in row)
    assert 0 <= evaluated["eval/mask_AP"] <= 1

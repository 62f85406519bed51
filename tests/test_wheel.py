"""The wheel alone, outside the checkout, trains by its command and predicts."""

import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tests.helpers import quick_compile

ROOT = pathlib.Path(__file__).parent.parent
TINY = {
    "data.shapes_train_images": 8,
    "data.shapes_validation_images": 2,
    "data.shapes_image_size": 64,
    "data.input_size": 64,
    "model.backbone_width": 8,
    "model.features": 8,
    "model.num_prototypes": 4,
    "train.batch_size": 4,
    "train.num_steps": 2,
    "eval.batch_size": 1,
    "optimizer.scale_with_batch": "false",
}
pytestmark = pytest.mark.long

PREDICT = """
import sys
import yolact_jax as y

assert y.__file__.startswith(sys.argv[1]), y.__file__
r = y.load("r").predict("photo.jpg", score_threshold=0)
print(r.names, r.to_coco()[:1], r.polygons()[:1])
r.save("o.png")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder into which the wheel is installed, without what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    # From a copy, as building leaves files beside the sources.
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "yolact_jax", source / "yolact_jax", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, source], check=True)
    (wheel,) = folder.glob("yolact_jax-*.whl")
    site = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "-t", site, wheel], check=True)
    return site


def test_wheel_trains_and_predicts_in_an_empty_folder(installed, tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
        "XLA_FLAGS": quick_compile.XLA_FLAGS,
    }

    def run(*words):
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    fields = [f"--config.{name}={value}" for name, value in TINY.items()]
    command = installed / "bin" / "yolact-jax"
    run(command, "train", "--config", "shapes", "--workdir", "r", *fields)
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "photo.jpg"), image)
    printed = run("-c", PREDICT, installed)
    assert "bbox" in printed
    assert cv2.imread(str(tmp_path / "o.png")).shape[2] == 3
    run(command, "export", "--workdir", "r", "--output", "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_size > 0

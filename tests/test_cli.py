"""Mistakes on the command line are answered in one line, without a traceback."""

import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.train.batchsize=3"], 'Did you mean "batch_size"'),
        (["--config.trian.batch_size=3"], 'Did you mean "train"'),
        (["--config.train.batch_size=three"], "batch_size=three: invalid literal"),
        (
            ["--config=configs/nothing.py"],
            "the config file configs/nothing.py does not exist",
        ),
        (["--config.model.backbone=vgg"], "config.model.backbone is 'vgg'"),
        (["--config=configs/coco.py"], "configs/shapes.py trains without"),
        (["stray"], "unknown argument stray"),
    ],
)
def test_train_explains_mistakes_and_leaves_nothing(arguments, message, tmp_path):
    workdir = tmp_path / "run"
    command = [sys.executable, "train.py", "--config=configs/shapes.py"]
    result = subprocess.run(
        [*command, f"--workdir={workdir}", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert message in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert not workdir.exists()

"""`yolact-jax show` draws what the loader gives the network, to the pixel."""

import cv2
import numpy as np
import pytest

from tests.helpers.runs import tiny_config
from yolact_jax import build
from yolact_jax.run.changes import note_changes
from yolact_jax.run.folder import save_run
from yolact_jax.tools.commands.main import main
from yolact_jax.tools.show import seen

BATCH, EPOCHS = 5, 3  # 12 pictures: batches cross the border of epochs.


@pytest.fixture(scope="module", params=["plain", "mixed"])
def loaded(request, tmp_path_factory):
    """Config, train split, and its batches of the first epochs."""
    changes = {
        "plain": {},
        "mixed": {"augment.copy_paste_probability": 0.4, "augment.photometric": True},
    }
    config = tiny_config(tmp_path_factory.mktemp("show")).replace(
        {
            "train.batch_size": BATCH,
            "train.num_steps": 8,
            "augment.expand": True,
            "augment.crop": True,
            **changes[request.param],
        }
    )
    dataset = build.make_dataset(config)
    source = dataset.source("train")
    with build.make_training_batches(config, source, 0) as batches:
        return config, dataset, [next(batches) for _ in range(8)]


def test_every_picture_of_every_epoch_is_the_row_of_the_batch(loaded):
    config, dataset, batches = loaded
    source, places = dataset.source("train"), set()
    for epoch in range(1, EPOCHS + 1):
        for index in range(len(source)):
            found = seen(config, source, index, epoch)
            places.add((found.step, found.row))
            batch = batches[found.step - 1]
            assert batch["image_ids"][found.row] == source[index].image_id
            count = int(batch["valid"][found.row].sum())
            for name, value in found.sample.items():
                row = batch[name][found.row]
                is_padded = np.ndim(value) and name != "images"
                np.testing.assert_array_equal(row[:count] if is_padded else row, value)
    assert len(places) == EPOCHS * len(source)


def test_the_command_draws_the_row_of_a_run(loaded, tmp_path, capsys, monkeypatch):
    config, dataset, batches = loaded
    source = dataset.source("train")
    save_run(tmp_path / "run", config, dataset)
    monkeypatch.chdir(tmp_path)
    words = ["show", "--workdir=run", "--epoch=2"]
    assert main([*words, "--index=7"]) == 0
    found = seen(config, source, 7, 2)
    said = f"step {found.step}, row {found.row}; seen_7_2.png"
    assert said in capsys.readouterr().out
    picture = cv2.imread("seen_7_2.png")[..., ::-1]
    pixels = batches[found.step - 1]["images"][found.row]
    times = len(picture) // len(pixels)
    left = picture[:, : len(picture)]
    np.testing.assert_array_equal(left[::times, ::times], pixels)
    right = picture[:, -len(picture) :]
    changed = (right != left).any(axis=-1)
    inside = np.zeros(changed.shape, bool)
    for box in found.sample["boxes"]:
        x1, y1, x2, y2 = (box * len(picture)).astype(int)
        inside[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = True
    assert changed[inside].mean() > 0.2
    # By its id it is the same picture, which is not written over.
    assert main([*words, f"--image_id={source[7].image_id}"]) == 1
    assert "seen_7_2.png exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--index=1", "--epoch=40"], "the run has 8 steps"),
        (["--index=1", "--epoch=0"], "`epoch` is 0; it must be at least 1"),
        (["--index=12"], "must be that of an image in 0..11"),
        (["--index=-1"], "must be that of an image in 0..11"),
        (["--image_id=999"], "--image_id 999 is not in"),
        ([], "give either --index or --image_id"),
        (["--index=1", "--config=shapes"], "both name a config"),
        (["--index=1", "--output=a.gif"], "must end in .png"),
    ],
)
def test_what_was_never_seen_is_one_sentence(loaded, tmp_path, capsys, words, said):
    config, dataset, _ = loaded
    save_run(tmp_path / "run", config, dataset)
    assert main(["show", f"--workdir={tmp_path / 'run'}", *words]) == 1
    assert said in capsys.readouterr().err


def test_what_was_seen_before_a_change_is_not_shown(loaded, tmp_path, capsys):
    config, dataset, _ = loaded
    workdir = tmp_path / "run"
    save_run(workdir, config.replace({"train.seed": 7}), dataset)
    note_changes(workdir, config, 4)
    save_run(workdir, config, dataset)
    for index in range(12):
        found = seen(config, dataset.source("train"), index, 2)
        output = tmp_path / f"{index}.png"
        words = [f"--workdir={workdir}", f"--index={index}", f"--output={output}"]
        assert main(["show", *words, "--epoch=2"]) == (found.step <= 4)
        assert output.exists() == (found.step > 4)
        refused = f"Step {found.step} of {workdir} cannot be made again, as config.tr"
        assert (refused in capsys.readouterr().err) == (found.step <= 4)


def test_an_open_batch_leaves_the_step_open_but_no_pixel(loaded):
    config, dataset, _ = loaded
    source = dataset.source("train")
    left_open = config.replace(
        {"train.batch_size": 0, "optimizer.scale_with_batch": True}
    )
    found = seen(left_open, source, 7, 2)
    assert (found.step, found.row) == (0, 0)
    for name, value in seen(config, source, 7, 2).sample.items():
        np.testing.assert_array_equal(found.sample[name], value)
    several = left_open.replace({"train.multi_scale": (64, 96)})
    with pytest.raises(ValueError, match=r"train.batch_size is 0; it must be that of"):
        seen(several, source, 7, 2)

"""Five channels of 16 bits, through every command, with the window of the run."""

import json

import cv2
import jax
import numpy as np
import pytest

import yolact_jax
from tests.helpers.runs import tiny_config
from tests.helpers.tiffs import CHANNELS, config_of, noise, tiff
from yolact_jax.data.pixels import Pixels
from yolact_jax.run.folder import load_run
from yolact_jax.run.metrics import read_rows
from yolact_jax.tools.commands.main import main
from yolact_jax.training.loop import train
from yolact_jax.weights.files import write_safetensors
from yolact_jax.weights.input_channels import inflated
from yolact_jax.weights.state_dict import to_state_dict
from yolact_jax.zoo.pretrained import abstract_variables, initialize_from

pytestmark = pytest.mark.slow
PERCENTILES = (1.0, 99.0)


@pytest.fixture(scope="module")
def run(many, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    augment = {"augment.photometric": True, "augment.expand": True}
    base = tiny_config(folder).replace(
        augment
        | {"train.num_steps": 2, "augment.mosaic_probability": 0.3}
        | {"data.resize": "letterbox"}
    )
    changes = {"channels": CHANNELS, "window_percentiles": PERCENTILES}
    config = config_of(many[0], folder, base, **changes)
    train(config, folder / "run")
    return config, folder / "run"


@pytest.fixture(scope="module")
def predictor(run):
    return yolact_jax.load(run[1])


def assert_same(found, expected, atol=0.0):
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.scores, expected.scores, atol=atol)
    np.testing.assert_allclose(found.boxes_px, expected.boxes_px, atol=100 * atol)


def find(predictor, image):
    return predictor.predict(image, score_threshold=0.0)


def test_the_run_records_what_it_measured_and_goes_on(run, many):
    config, workdir = run
    data = load_run(workdir).config.data
    flat = many[1].reshape(-1, CHANNELS)
    wanted = np.percentile(flat, PERCENTILES, axis=0, method="inverted_cdf")
    assert (data.window_low, data.window_high) == tuple(map(tuple, wanted))
    assert data.window_percentiles == ()
    assert len(data.channel_mean) == CHANNELS
    assert int(train(config.replace({"train.num_steps": 3}), workdir).step) == 3
    assert load_run(workdir).config.data == data
    other = config.replace(Pixels(CHANNELS, (0.0,) * 5, (9.0,) * 5).fields())
    with pytest.raises(ValueError, match=r"another model: config.data.window_low"):
        train(other, workdir)


def test_files_and_arrays_are_windowed_alike(predictor, run, many):
    root, images = many
    expected = find(predictor, root / "0.tif")
    assert_same(find(predictor, images[0]), expected)
    assert expected.image.shape == (40, 60, 3)
    assert expected.draw().shape == (40, 60, 3)
    whole = next(iter(predictor.stream(root / "0.tif", score_threshold=0.0)))
    assert_same(whole, expected)
    tiled = predictor.predict(images[0], score_threshold=0.0, tile=40)
    assert tiled.image.shape == (40, 60, 3)
    # Twice the window is another picture.
    data = load_run(run[1]).config.data
    again = Pixels.of(data).scaled(images[0])
    assert not np.array_equal(find(predictor, again).scores, expected.scores)
    with pytest.raises(ValueError, match=r"\[h, w, 5\]; got uint8 \(40, 60, 3\)"):
        predictor.predict(noise(3, np.uint8, (40, 60)))


@pytest.mark.parametrize("suffix", ["stablehlo", "onnx", "safetensors"])
def test_exported_files_have_the_window_of_the_run(
    predictor, run, many, tmp_path, suffix
):
    config, workdir = run
    file = tmp_path / f"m.{suffix}"
    assert main(["export", f"--workdir={workdir}", f"--output={file}"]) == 0
    options = {"config": config.replace({"data.window_percentiles": ()})}
    options = options if suffix == "safetensors" else {}
    loaded = yolact_jax.load(file, **options)
    assert loaded.pixels == predictor.pixels
    image = many[0] / "3.tif"
    assert_same(find(loaded, image), find(predictor, image), atol=2e-4)


def test_a_page_for_browsers_is_refused(run, tmp_path, capsys):
    words = ["export", f"--workdir={run[1]}", f"--output={tmp_path / 'site'}/"]
    assert main(words) == 1
    assert "RGB pictures of 8 bits" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()


def test_commands_see_the_same_pixels(predictor, run, many, tmp_path, capsys):
    _, workdir = run
    output = ["--output", str(tmp_path / "evaluated")]
    assert main(["evaluate", f"--workdir={workdir}", *output]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    (last,) = (r for r in read_rows(workdir)[-1:] if "eval/mask_AP" in r)
    assert row["eval/mask_AP"] == last["eval/mask_AP"]
    words = ["predict", f"--workdir={workdir}", f"--source={many[0] / '1.tif'}"]
    assert main([*words, f"--output={tmp_path / 'out'}", "--score_threshold=0"]) == 0
    content = json.loads((tmp_path / "out" / "detections.json").read_text())
    scores = sorted(a["score"] for a in content["annotations"])
    expected = find(predictor, many[0] / "1.tif").scores
    assert scores
    assert all(np.abs(expected - score).min() < 1e-4 for score in scores)
    assert main(["inspect", f"--workdir={workdir}", *output]) == 0
    words = ["show", f"--workdir={workdir}", "--index=2", "--epoch=1"]
    assert main([*words, f"--output={tmp_path / 'seen.png'}"]) == 0
    assert cv2.imread(str(tmp_path / "seen.png")) is not None


def test_prediction_names_a_file_of_other_channels_and_goes_on(run, many, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    (source / "good.tif").write_bytes(tiff(many[1][0], "pages"))
    (source / "rgb.png").write_bytes(cv2.imencode(".png", noise(3, np.uint8))[1])
    words = ["predict", f"--workdir={run[1]}", f"--source={source}"]
    assert main([*words, f"--output={tmp_path / 'out'}"]) == 1
    content = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["good.tif"]


def test_weights_for_rgb_start_a_run_of_other_channels(run, tmp_path):
    rng = np.random.default_rng(0)

    def made_up(channels):
        config = run[0].replace({"data.channels": channels})
        like = abstract_variables(config, 1)
        return jax.tree.map(lambda x: rng.random(x.shape, np.float32), like)

    tensors = to_state_dict(made_up(3))
    write_safetensors(tmp_path / "rgb.safetensors", tensors, {})
    loaded = initialize_from(made_up(CHANNELS), str(tmp_path / "rgb.safetensors"))
    kernel = loaded["params"]["backbone"]["conv1"]["kernel"]
    wanted = inflated(tensors["backbone.conv1.weight"], CHANNELS)
    np.testing.assert_allclose(kernel.transpose(3, 2, 0, 1), wanted)

"""Mistakes on the command line are answered in one line, without a traceback."""

import math
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from absl import flags

from yolact_jax import cli
from yolact_jax.config import Config, from_config_dict, sides_of, to_config_dict
from yolact_jax.tools.commands import model_flags
from yolact_jax.tools.commands.main import NAMES, main
from yolact_jax.zoo.specs import load_config

REPOSITORY = pathlib.Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.train.batchsize=3"], 'Did you mean "batch_size"'),
        (["--config.trian.batch_size=3"], 'Did you mean "train"'),
        (["--config.train.batch_size=three"], "batch_size=three: invalid literal"),
        (
            ["--config=configs/nothing.py"],
            "The config file configs/nothing.py does not exist",
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


def fake_command(run, **options):
    def define(values):
        flags.DEFINE_string("workdir", None, "Folder.", flag_values=values)
        flags.DEFINE_integer("count", 1, "How many.", flag_values=values)

    return cli.Command("fake", "Fakes.", define, run, **options)


def config_of(given):
    return to_config_dict(Config()) if "config" in given else None


def outcome(capsys, command, *words):
    status = cli.execute(command, words, "program")
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def raising(error):
    def run(values):
        raise error

    return fake_command(run)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("`x` is 3."), "program: `x` is 3."),
        (FileExistsError(17, "File exists", "out"), "program: out: File exists."),
        (FileNotFoundError(2, "No such file", b"a"), "program: a: No such file."),
        (OverflowError("too large"), "program: too large"),
        (MemoryError(), "program: not enough memory."),
        (RecursionError("maximum"), "program: the input is nested too deeply."),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "can't decode byte 0xff"),
        (RuntimeError("Unable to initialize backend 'cuda'"), "backend 'cuda'"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no"), "RESOURCE_EXHAUSTED"),
        (cli.Ended("stopped", 143), "program: stopped"),
        (KeyboardInterrupt(), "program: interrupted."),
    ],
)
def test_foreseeable_errors_become_one_sentence(error, sentence, capsys):
    status, _, text = outcome(capsys, raising(error))
    assert status == {cli.Ended: 143, KeyboardInterrupt: 130}.get(type(error), 1)
    assert sentence in text
    assert len(text.splitlines()) == 1


def test_bugs_keep_their_traceback():
    with pytest.raises(TypeError):
        cli.execute(raising(TypeError("a bug")), [], "program")


def test_flags_are_parsed_in_every_spelling(capsys):
    seen = []
    command = fake_command(lambda v: seen.append((v.workdir, v.count)))
    for words in (["--workdir=a", "--count=2"], ["--workdir", "a", "-count", "2"]):
        assert outcome(capsys, command, *words)[0] == 0
    assert seen == [("a", 2)] * 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cuont=2"], "cuont"),
        (["--count=two"], "count"),
        (["stray"], "unknown argument stray"),
        (["--config.train.batch_size=3"], "needs --config"),
        (["--config=x", "--config.train.batchsize=3"], 'Did you mean "batch_size"'),
    ],
)
def test_wrong_flags_are_named(words, sentence, capsys):
    command = fake_command(lambda values: None, find_config=config_of)
    status, _, text = outcome(capsys, command, *words)
    assert status == 1
    assert sentence in text
    assert "Traceback" not in text


def test_fields_of_the_config_are_changed_by_flags(capsys):
    seen = []
    command = fake_command(lambda v: seen.append(v.config), find_config=config_of)
    words = ["--config.train.batch_size=3", "--config", "x", "--config.augment.crop=0"]
    words += ["--config.optimizer.decay_steps=(5, 6)"]
    assert outcome(capsys, command, *words)[0] == 0
    (config,) = seen
    assert config.train.batch_size == 3
    assert config.augment.crop is False
    assert config.optimizer.decay_steps == (5, 6)


def test_first_word_may_stand_for_a_flag(capsys):
    seen = []
    command = fake_command(lambda v: seen.append(v.workdir), argument="workdir")
    outcome(capsys, command, "somewhere")
    assert seen == ["somewhere"]


def test_help_lists_commands_and_flags(capsys):
    assert main(["--help"]) == 0
    usage = capsys.readouterr().out
    assert all(f"\n  {name} " in usage for name in NAMES)
    assert main(["train", "--help"]) == 0
    assert "--workdir" in capsys.readouterr().out
    assert main(["tarin"]) == 1
    assert "there is no command tarin" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["shapes", "configs/shapes.py"])
def test_config_prints_every_field_with_its_meaning(name, capsys):
    assert main(["config", name, "--config.train.batch_size=4"]) == 0
    text = capsys.readouterr().out
    for field in Config().flat():
        assert field.partition(".")[2] in text
    assert "Side of the network input" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "either --workdir"),
        (["--workdir=a", "--weights=b"], "either --workdir"),
        (["--workdir=a", "--config=shapes"], "--config has no effect"),
        (["--workdir=nothing"], "nothing has no config.json"),
        (["--weights=x.pth"], "needs --config"),
        (["--weights=x.pth", "--config=coko"], "did you mean coco"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "predict", "export"])
def test_contradicting_models_are_refused(command, words, sentence, capsys):
    more = {"predict": ["--source=x"], "export": ["--output=x"]}.get(command, [])
    assert main([command, *words, *more]) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", ["yolact_im700", "yolact_plus_base"])
@pytest.mark.parametrize("command", ["evaluate", "predict", "export"])
def test_published_weights_are_known_by_their_files(command, name, tmp_path, capsys):
    """What is said of the file comes after its config was found."""
    path = tmp_path / f"{name}_54_800000.pth"
    path.write_bytes(b"cut")
    more = {"predict": ["--source=x"], "export": ["--output=x"]}.get(command, [])
    assert main([command, f"--weights={path}", *more]) == 1
    assert "is not a PyTorch file" in capsys.readouterr().err
    assert model_flags.find_config({"weights": str(path)}) == load_config(name)


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["--config.data.input_size=96"], 96),
        (["--config.data.input_size", "96"], 96),
        (["--config.data.input_size=(64, 96)"], (64, 96)),
        (["--config.data.input_size", "(64, 96)"], (64, 96)),
    ],
)
def test_an_input_size_is_given_in_either_form(words, size):
    command = fake_command(lambda values: 0, find_config=config_of)
    values = cli.parse(command, ["--config=coco", *words])
    config = from_config_dict(values.config)
    assert config.data.input_size == size
    # Anchors grow with the root of the area, here from 550 x 550 pixels.
    factor = math.sqrt(math.prod(sides_of(size))) / 550
    np.testing.assert_allclose(
        config.anchors.scales_px,
        np.array([[24], [48], [96], [192], [384]]) * factor,
        1e-3,
    )


def test_an_input_size_that_is_none_is_one_sentence(capsys):
    command = fake_command(
        lambda values: from_config_dict(values.config), find_config=config_of
    )
    for word in ("wide", "(64, 96, 128)", "True"):
        words = ["--config=coco", f"--config.data.input_size={word}"]
        assert cli.execute(command, words, "test") == 1
        assert "config.data.input_size is " in capsys.readouterr().err


def test_only_closed_event_loops_are_collected_in_silence():
    code = """if True:
        from yolact_jax.cli import start_logging

        class Left:
            def __init__(self, message):
                self.message = message

            def __del__(self):
                raise RuntimeError(self.message)

        start_logging()
        for message in ("Event loop is closed", "other"):
            Left(message)
    """
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "RuntimeError: other" in done.stderr
    assert "Event loop" not in done.stderr

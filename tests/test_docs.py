"""What the documentation names exists: links, files, commands, flags, fields."""

import importlib
import pathlib
import re

import pytest
from absl import flags

from yolact_jax.config import Config, from_config_dict
from yolact_jax.tools.commands.main import NAMES
from yolact_jax.zoo.specs import load_config

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("configs/*.py")),
    ROOT / "benchmarks" / "README.md",
]
COMMAND = re.compile(
    r"(?:yolact-jax|(?<![\w-])python3?) ([\w./-]+)"
    r"((?:[^\n`#&|\\]|\\\n)*)"
)
FIELDS = Config().flat()


def flags_of(command: str) -> set[str]:
    """Returns the flags of a command, `config` included."""
    values = flags.FlagValues()
    module = importlib.import_module(f"yolact_jax.tools.commands.{command}")
    module.COMMAND.define_flags(values)
    return {*values, "config", "help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_commands_exist(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link
    for match in COMMAND.finditer(text):
        word, rest = match.groups()
        if word.startswith("-"):
            continue
        is_script = word.endswith(".py")
        assert (ROOT / word).exists() if is_script else word in (*NAMES, "COMMAND")
        name = word.removesuffix(".py")
        if name not in NAMES:
            continue
        for flag in re.findall(r"--([\w.]+)", rest):
            field = flag.removeprefix("config.")
            assert flag in flags_of(name) or field in FIELDS, f"{word}: --{flag}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_fields_of_the_config_exist(page):
    sections = "|".join({name.partition(".")[0] for name in FIELDS})
    named = rf"(?:`|--config\.|`config\.)((?:{sections})\.[a-z_]+)[^a-z_/.(\w]"
    for field in re.findall(named, page.read_text()):
        is_path = field in ("data.yaml", "data.records", "train.py")
        assert field in FIELDS or is_path, field


def test_example_of_a_config_file_loads(tmp_path):
    page = (ROOT / "docs" / "own_data.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "mine.py"
    path.write_text(example)
    config = from_config_dict(load_config(str(path)))
    assert config.data.input_size == 400
    assert config.train.init_weights == "yolact_resnet50"
    assert config.train.epochs == 50
    assert config.augment.flip_vertical
    # In proportion: 24, 48, ... pixels at 550.
    sides = [side for (side,) in config.anchors.scales_px]
    assert sides == pytest.approx([s * 400 / 550 for s in (24, 48, 96, 192, 384)])

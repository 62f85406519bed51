"""Imports point one way, and loading data never starts jax or TensorFlow."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "yolact_jax"
# Module or folder -> what of this package it may import, beside itself.
ALLOWED = {
    "structures": set(),
    "atomic": set(),
    "console": set(),
    "data": {"atomic"},
    "resize": set(),
    "models": {"structures", "resize"},
    "ops": {"structures", "resize"},
    "weights": {"atomic"},
    "loss_terms": {"ops"},
    "mask_losses": {"ops"},
    "losses": {"structures", "ops", "resize", "loss_terms", "mask_losses"},
    "postprocess": {"structures", "ops", "resize"},
    "inference": {"structures", "ops", "resize", "models", "postprocess"},
    "coco_format": {"structures", "atomic"},
    "visualize": {"structures", "atomic"},
    "evaluation": {"structures", "coco_format"},
    "split_evaluation": {"data", "inference", "coco_format", "evaluation"},
    "prediction_files": {
        "structures",
        "atomic",
        "data",
        "inference",
        "coco_format",
        "visualize",
    },
    "array_record": set(),
    "flops": set(),
    "disk_errors": set(),
    "checkpoint": {"array_record", "disk_errors"},
    "compile_cache": set(),
    "charts": set(),
    "config_checks": set(),
    "workdir": {"data", "atomic"},
    "doctor": {"data", "ops", "console", "build"},
}
LOWER_THAN_TRAINING = {"build", *ALLOWED}
ALLOWED["build"] = set(ALLOWED)
ALLOWED["published"] = {"build", "models", "weights", "workdir"}
ALLOWED["training"] = LOWER_THAN_TRAINING | {"published"}


def part_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: pathlib.Path) -> set[str]:
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = node.module.split(".")
            if names == ["yolact_jax"]:
                parts |= {alias.name for alias in node.names}
            elif names[0] == "yolact_jax":
                parts.add(names[1])
        elif isinstance(node, ast.Import):
            parts |= {
                alias.name.split(".")[1]
                for alias in node.names
                if alias.name.startswith("yolact_jax.")
            }
    return parts


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_point_one_way(path):
    part = part_of(path)
    if part == "__init__":
        assert not imports(path)
        return
    assert imports(path) <= ALLOWED[part] | {part}


@pytest.mark.parametrize("module", ["tensorflow", "jax"])
def test_data_imports_neither_tensorflow_nor_jax(module):
    code = (
        "import sys, yolact_jax.data.pipeline, yolact_jax.data.coco_builder;"
        f"sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

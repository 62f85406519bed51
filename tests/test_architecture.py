"""One rule: a file imports its own room or a lower floor; data never start jax."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "yolact_jax"
FLOORS = (
    {"structures", "files", "config"},
    {"ops", "data"},
    {"models", "losses", "weights"},
    {"inference"},
    {"results"},
    {"build"},
    {"run", "cli"},
    {"zoo"},
    {"training", "export"},
    {"tools"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def rooms_imported(path: pathlib.Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        rooms |= {n.split(".")[1] for n in names if n.startswith("yolact_jax.")}
    return rooms


@pytest.mark.parametrize(
    "path",
    [
        p
        for p in sorted(PACKAGE.rglob("*.py"))
        if p.parent != PACKAGE or "_" not in p.name
    ],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_a_file_imports_its_own_room_or_a_lower_floor(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    lower = {name for name, floor in FLOOR_OF.items() if floor < FLOOR_OF[room]}
    assert rooms_imported(path) <= lower | {room}


@pytest.mark.parametrize("module", ["tensorflow", "jax"])
def test_data_imports_neither_tensorflow_nor_jax(module):
    code = (
        "import sys, yolact_jax.data.pipeline, yolact_jax.data.sources.coco_builder;"
        f"sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

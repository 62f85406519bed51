import pkgutil
import subprocess
import sys

import pytest

import yolact_jax.data

MODULES = [
    module.name
    for module in pkgutil.walk_packages(yolact_jax.data.__path__, "yolact_jax.data.")
]


def test_no_module_imports_jax_or_tensorflow():
    code = (
        f"import sys, {', '.join(MODULES)}\n"
        "print([m for m in ('jax', 'tensorflow', 'flax') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["pipeline", "sources.coco_builder"])
def test_the_modules_are_found(name):
    assert f"yolact_jax.data.{name}" in MODULES

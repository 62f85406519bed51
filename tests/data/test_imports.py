import pkgutil
import subprocess
import sys

import pytest

import yolact_jax.data

MODULES = [module.name for module in pkgutil.iter_modules(yolact_jax.data.__path__)]


def test_no_module_imports_jax_or_tensorflow():
    names = ", ".join(f"yolact_jax.data.{name}" for name in MODULES)
    code = (
        f"import sys, {names}\n"
        "print([m for m in ('jax', 'tensorflow', 'flax') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["pipeline", "coco_builder"])
def test_the_modules_are_found(name):
    assert name in MODULES

"""Keeps on disk what tracing a model gives, for processes that start later.

JAX's cache of compiled programs is asked with a program that is traced and lowered
already, which takes longer than running it once.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax
import jax
import jax.export
import jax.numpy as jnp
import jaxlib.version
import numpy as np
from flax import linen as nn
from flax import traverse_util

from yolact_jax.files import read_json, replacing, write_json
from yolact_jax.inference.options import Choices
from yolact_jax.inference.outputs import Outputs
from yolact_jax.structures import Detections

_LOGGER = logging.getLogger(__name__)
_PACKAGE = Path(__file__).parent.parent
_DIGEST_BYTES = hashlib.sha256().digest_size
_MOST_FILES = 100
# Settings of JAX with which programs differ, and with which none is kept: they are to
# see the operations one by one, or to run on another device.
_TELLING = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_use_shardy_partitioner",
)
_FORBIDDING = (
    "jax_disable_jit",
    "jax_debug_nans",
    "jax_debug_infs",
    "jax_default_device",
)
_KNOWN_CODE = ("yolact_jax", "builtins", "numpy", "jax", "jaxlib", "flax")
_folder: Path | None = None

for _node in (Choices, Detections, Outputs):
    jax.export.register_pytree_node_serialization(
        _node,
        serialized_name=f"yolact_jax.{_node.__name__}",
        serialize_auxdata=lambda auxdata: json.dumps(auxdata).encode(),
        deserialize_auxdata=lambda data: tuple(json.loads(data)),
    )


def keep_in(folder: Path | None) -> None:
    """Sets the folder, which is created when needed; None keeps nothing.

    For programs that run this package as it is: functions of it that other code has
    replaced are not noticed.
    """
    global _folder
    # Before anything is traced: the code may be edited while this process runs.
    _folder = folder if _code_digest() else None


class Traced:
    """A jitted function for one device that takes its traces from disk, if it can.

    As `jax.jit` does, it has a program for each combination of shapes and types of its
    arguments, apart from the first, the variables: theirs follow from the model.
    """

    def __init__(self, jitted: Any, name: str, model: nn.Module, *identity: object):
        """Makes nothing yet.

        Args:
          jitted: from `jax.jit`; a function of trees of arrays.
          name: what it does.
          model: what it runs.
          identity: all else that it depends on; different ones must differ in `repr`.
        """
        self._jitted, self._identity = jitted, (name, model, *identity)
        self._programs: dict[Any, Callable[..., Any]] = {}

    def __call__(self, variables: Any, *arguments: Any) -> Any:
        """Calls the function."""
        leaves = jax.tree.leaves(arguments)
        kinds = *_settings(), *((np.shape(x), str(x.dtype)) for x in leaves)
        if kinds not in self._programs:
            self._programs[kinds] = self._program(kinds, (variables, *arguments))
        return self._programs[kinds](variables, *arguments)

    def _program(self, kinds: tuple, arguments: tuple) -> Callable[..., Any]:
        file = _file_for(*self._identity, kinds)
        if file is None:
            return self._jitted
        described = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), arguments
        )
        with contextlib.suppress(Exception):  # Whatever is wrong: it is made again.
            exported = jax.export.deserialize(_read(file))
            if _fits(exported, described):
                return _called(exported)
        try:
            exported = jax.export.export(self._jitted)(*described)
        except Exception as error:
            # If an argument is wrong, the function itself says so.
            _LOGGER.debug("%s cannot be kept: %s", file.name, error)
            return self._jitted
        if not _fits(exported, described):
            return self._jitted
        with contextlib.suppress(Exception):  # A full disk costs later processes time.
            _write(file, exported.serialize())
        return _called(exported)


def _called(exported: jax.export.Exported) -> Callable[..., Any]:
    """Jits a program, without the arguments that it does not use.

    They would be inputs of the program, and copied to the device at each call.
    """
    used = set(exported.module_kept_var_idx)

    def call(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        given = [
            leaf if index in used else jnp.zeros(leaf.shape, leaf.dtype)
            for index, leaf in enumerate(leaves)
        ]
        return exported.call(*jax.tree.unflatten(tree, given))

    call.__name__ = exported.fun_name  # For logs and profiles.
    return jax.jit(call)


def _fits(exported: jax.export.Exported, arguments: tuple) -> bool:
    """Whether a program is for these arguments, and for one device as this has."""
    leaves, tree = jax.tree.flatten((arguments, {}))
    wanted = [(leaf.shape, leaf.dtype) for leaf in leaves]
    return (
        exported.nr_devices == 1
        and jax.export.default_export_platform() in exported.platforms
        and exported.in_tree == tree
        and [(a.shape, a.dtype) for a in exported.in_avals] == wanted
    )


def abstract_variables(make: Callable[[], dict], model: nn.Module, *identity) -> dict:
    """Returns what `make` does, or has returned before.

    Args:
      make: traces `model`; returns nested dicts of `jax.ShapeDtypeStruct`.
      model: whose variables these are.
      identity: all else that they depend on; different ones must differ in `repr`.
    """
    file = _file_for("variables", model, *identity)
    if file is None:
        return make()
    with contextlib.suppress(Exception):
        arrays = read_json(file)
        kept = {k: jax.ShapeDtypeStruct(s, d) for k, (s, d) in arrays.items()}
        return traverse_util.unflatten_dict(kept, sep="/")
    made = make()
    flat: dict[str, Any] = traverse_util.flatten_dict(made, sep="/")
    with contextlib.suppress(OSError):
        write_json(file, {k: [v.shape, str(v.dtype)] for k, v in flat.items()})
    return made


def _read(file: Path) -> bytearray:
    """Reads what `_write` wrote; raises an error if it is damaged."""
    data = file.read_bytes()
    if hashlib.sha256(data[_DIGEST_BYTES:]).digest() != data[:_DIGEST_BYTES]:
        raise ValueError(f"{file} is damaged.")
    return bytearray(data[_DIGEST_BYTES:])


def _write(file: Path, data: bytes | bytearray) -> None:
    """Writes a file, and removes the oldest if there are many."""
    with replacing(file) as temporary:
        temporary.write_bytes(hashlib.sha256(data).digest() + data)
    files = sorted(file.parent.iterdir(), key=os.path.getmtime)
    for old in files[:-_MOST_FILES]:
        old.unlink(missing_ok=True)


def _settings() -> tuple[Any, ...]:
    return tuple(getattr(jax.config, name) for name in _TELLING)


def _file_for(name: str, model: nn.Module, *identity: object) -> Path | None:
    """Where to keep what depends on these, on the code and on the platform alone."""
    if _folder is None or not _has_known_code(model):
        return None
    if any(getattr(jax.config, setting) for setting in _FORBIDDING):
        return None
    versions = jax.__version__, jaxlib.version.__version__, flax.__version__
    platform = jax.export.default_export_platform()
    key = _code_digest(), versions, platform, _settings(), model, identity
    digest = hashlib.sha256(repr(key).encode()).hexdigest()
    return _folder / f"{name}-{digest}"


def _has_known_code(model: nn.Module) -> bool:
    """Whether the versions and `_code_digest` cover all that a model is made of."""
    parts = [model, *vars(model).values()]
    homes = [getattr(part, "__module__", type(part).__module__) for part in parts]
    inner = [part for part in parts[1:] if isinstance(part, nn.Module)]
    is_known = all(str(home).split(".")[0] in _KNOWN_CODE for home in homes)
    return is_known and all(map(_has_known_code, inner))


@functools.cache
def _code_digest() -> str:
    """A digest of the code of this package, "" if it cannot be read."""
    digest = hashlib.sha256()
    try:
        files = sorted(_PACKAGE.rglob("*.py"))
        for file in files:
            digest.update(f"{file.relative_to(_PACKAGE)}\0".encode())
            digest.update(file.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest() if files else ""

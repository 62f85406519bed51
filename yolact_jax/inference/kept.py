"""Keeps on disk what tracing a model gives, for processes that start later.

JAX's cache of compiled programs is asked with a program that is traced and lowered
already, which takes longer than running it once.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np
from flax import linen as nn
from flax import traverse_util

from yolact_jax.files import read_json, replacing, write_json
from yolact_jax.inference.options import Choices
from yolact_jax.inference.outputs import Outputs
from yolact_jax.structures import Detections

_LOGGER = logging.getLogger(__name__)
_DIGEST_BYTES = hashlib.sha256().digest_size
_PACKAGE = Path(__file__).parent.parent
# A trace depends on these, and on these settings of JAX.
_LIBRARIES = ("jax", "jaxlib", "flax")
_SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision")
_folder: Path | None = None

for _node in (Choices, Detections, Outputs):
    jax.export.register_pytree_node_serialization(
        _node,
        serialized_name=f"yolact_jax.{_node.__name__}",
        serialize_auxdata=lambda auxdata: json.dumps(auxdata).encode(),
        deserialize_auxdata=lambda data: tuple(json.loads(data)),
    )


def keep_in(folder: Path | None) -> None:
    """Sets the folder, which is created when needed; None keeps nothing."""
    global _folder
    _folder = folder


class Traced:
    """A jitted function that takes its traces from disk, if they were kept there.

    As `jax.jit` does, it has a program for each combination of shapes; those of the
    first argument, the variables of the model, must follow from the model.
    """

    def __init__(self, jitted: Any, name: str, model: nn.Module, *identity: object):
        """Makes nothing yet.

        Args:
          jitted: from `jax.jit`; a function of trees of arrays.
          name: what it does.
          model: what it runs.
          identity: all else that the function depends on, with `repr` telling it.
        """
        self._jitted, self._identity = jitted, (name, model, *identity)
        self._programs: dict[Any, Callable[..., Any]] = {}

    def __call__(self, variables: Any, *arguments: Any) -> Any:
        """Calls the function."""
        leaves = jax.tree.leaves(arguments)
        shapes = tuple((np.shape(leaf), str(leaf.dtype)) for leaf in leaves)
        if shapes not in self._programs:
            self._programs[shapes] = self._program(shapes, (variables, *arguments))
        return self._programs[shapes](variables, *arguments)

    def _program(self, shapes: Any, arguments: tuple) -> Callable[..., Any]:
        file = _place(*self._identity, shapes)
        if file is None:
            return self._jitted
        with contextlib.suppress(Exception):  # Whatever is wrong: it is made again.
            return jax.jit(jax.export.deserialize(_read(file)).call)
        try:
            exported = jax.export.export(self._jitted)(*arguments)
            _write(file, exported.serialize())
        except Exception as error:
            # A full disk costs later processes time; what is wrong with the arguments,
            # the function itself tells.
            _LOGGER.debug("No trace is kept in %s: %s", file, error)
            return self._jitted
        return jax.jit(exported.call)


def _read(file: Path) -> bytearray:
    """Reads what `_write` wrote; raises an error if it is damaged."""
    data = file.read_bytes()
    if hashlib.sha256(data[_DIGEST_BYTES:]).digest() != data[:_DIGEST_BYTES]:
        raise ValueError(f"{file} is damaged.")
    return bytearray(data[_DIGEST_BYTES:])


def _write(file: Path, data: bytes | bytearray) -> None:
    with replacing(file) as temporary:
        temporary.write_bytes(hashlib.sha256(data).digest() + data)


def abstract_variables(make: Callable[[], dict], model: nn.Module, *identity) -> dict:
    """Returns what `make` does, or has returned before.

    Args:
      make: traces `model`; returns nested dicts of `jax.ShapeDtypeStruct`.
      model: whose variables these are.
      identity: all else that they depend on, with `repr` telling it.
    """
    file = _place("variables", model, *identity)
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


def _place(name: str, model: nn.Module, *identity: object) -> Path | None:
    """The file for what depends on these, on the code and on the platform alone."""
    parts = [model, *(p for p in vars(model).values() if isinstance(p, nn.Module))]
    # Only of this package is it known that its code is the same.
    if _folder is None or any(
        not type(part).__module__.startswith("yolact_jax.") for part in parts
    ):
        return None
    settings = [getattr(jax.config, setting) for setting in _SETTINGS]
    versions = [importlib.metadata.version(name) for name in _LIBRARIES]
    all_of_it = _code(), versions, jax.default_backend(), settings, model, identity
    digest = hashlib.sha256(repr(all_of_it).encode()).hexdigest()
    return _folder / f"{name}-{digest}"


@functools.cache
def _code() -> str:
    """A digest of the code of this package."""
    digest = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{file.relative_to(_PACKAGE)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()

"""Writes a trained model as one file for other programs, or as a page for browsers.

    yolact-jax export --workdir runs/shapes --output shapes.safetensors
    yolact-jax export --workdir runs/shapes --output shapes.stablehlo
    yolact-jax export --weights yolact_base --output yolact_base.onnx --dtype=float16

The suffix says what is written.  A .safetensors file has the weights with the keys and
layouts of the original's state dict.  A .stablehlo file has weights and program, from
pixels to full-size masks, for JAX without this package; an .onnx file the same for ONNX
Runtime and others, see docs/export.md.  A folder, such as site/, becomes a page that
finds objects in the browser.  All have the class names; evaluate and predict read the
files with --weights.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from yolact_jax.cli import Command
from yolact_jax.tools.commands import model_flags
from yolact_jax.zoo.load import require_fit


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    model_flags.define(values)
    flags.DEFINE_string(
        "output",
        None,
        "File to write, .safetensors, .stablehlo or .onnx, or folder of a page.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "platforms",
        None,
        "Of .stablehlo: where it can run. [cpu,cuda,tpu]",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "dtype",
        None,
        ["float32", "float16"],
        "Of .onnx and pages: type of the convolutions. [float32]",
        flag_values=values,
    )
    flags.DEFINE_string(
        "runtime_files",
        None,
        "Of pages: folder with the files of onnxruntime-web. "
        "[node_modules/onnxruntime-web/dist]",
        flag_values=values,
    )


def run(values: Any) -> None:
    """Writes the file or the folder."""
    if values.output is None:
        raise ValueError(
            "--output is missing: the .safetensors, .stablehlo or .onnx file to write, "
            "or a folder for a page."
        )
    kind = _kind(values.output)
    options = _options(values, kind)
    model, variables, _ = model_flags.load(values)
    require_fit(model, variables)
    _writer(kind)(model, variables, values.output, **options)


# The flags that each kind of output has; a folder has no suffix.
_FLAGS = {
    ".safetensors": (),
    ".stablehlo": ("platforms",),
    ".onnx": ("dtype",),
    "": ("dtype", "runtime_files"),
}


def _kind(output: str) -> str:
    suffix = "" if output.endswith("/") else Path(output).suffix
    if suffix not in _FLAGS:
        raise ValueError(
            f"--output {output} ends in none of .safetensors, .stablehlo and .onnx, "
            f"and a folder for a page has no suffix, or ends in /."
        )
    return suffix


def _options(values: Any, kind: str) -> dict[str, Any]:
    """Returns the flags given; raises ValueError for one of another kind of output."""
    given = {
        name: values[name].value
        for name in ("platforms", "dtype", "runtime_files")
        if values[name].value is not None
    }
    for name in given:
        if name not in _FLAGS[kind]:
            raise ValueError(f"--{name} has no effect on --output {values.output}.")
    return given


def _writer(kind: str) -> Callable:
    """Imports what writes one kind of output."""
    if kind == ".safetensors":
        from yolact_jax.zoo.pretrained import export_weights as write
    elif kind == ".stablehlo":
        from yolact_jax.export.stablehlo import export_stablehlo as write
    elif kind == ".onnx":
        from yolact_jax.export.onnx.file import export_onnx as write
    else:
        from yolact_jax.export.site import export_site as write
    return write


COMMAND = Command("export", __doc__, define_flags, run, model_flags.find_config)

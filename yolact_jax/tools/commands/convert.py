r"""Writes COCO-format json files from other formats of labels.

    yolact-jax convert labelme --annotations labels --images images --out train.json
    yolact-jax convert yolo --annotations labels --images images \
        --classes data.yaml --out train.json
    yolact-jax convert png --annotations masks --images images --class_name cell \
        --out train.json
    yolact-jax convert sbd --folder benchmark_RELEASE --out data/sbd

The last one writes pascal_sbd_train.json and pascal_sbd_val.json.
"""

from pathlib import Path
from typing import Any

from absl import flags

from yolact_jax.cli import Command
from yolact_jax.data.errors import DatasetError
from yolact_jax.tools.convert import convert, convert_sbd

# Format -> the flags that it takes: those it needs, those it may have.
_FLAGS = {
    "labelme": (("annotations", "images", "out"), ("skip_bad",)),
    "yolo": (
        ("annotations", "images", "classes", "out"),
        ("skip_bad", "boxes_as_rectangles"),
    ),
    "png": (("annotations", "images", "out"), ("skip_bad", "class_name", "void")),
    "sbd": (("folder", "out"), ("skip_bad",)),
}
_PATHS = ("annotations", "images", "classes", "folder", "out")


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_enum(
        "format",
        None,
        list(_FLAGS),
        "Format of the labels; may come first, without its name.",
        flag_values=values,
    )
    for name, text in (
        ("annotations", "Folder of label files."),
        ("images", "Folder of the images."),
        ("out", "Json file to write; for sbd the folder of two."),
        ("classes", "yolo: data.yaml, or a text file with one name a line."),
        ("class_name", "png: class of masks in no folder of a class. [object]"),
        ("folder", "sbd: where the official archive was unpacked."),
    ):
        flags.DEFINE_string(name, None, text, flag_values=values)
    for name, text in (
        ("skip_bad", "Leave out what cannot be used, name it, write the rest."),
        ("boxes_as_rectangles", "yolo: take boxes for rectangular objects."),
    ):
        flags.DEFINE_bool(name, None, text, flag_values=values)
    flags.DEFINE_integer(
        "void",
        None,
        "png: number of pixels of no object, such as 255.",
        flag_values=values,
    )


def run(values: Any) -> None:
    """Converts, and says what was written and what was left out."""
    options = _options(values)
    if values.format == "sbd":
        written = convert_sbd(**options)
    else:
        written = {options["out"]: convert(values.format, **options)}
    for path, imported in written.items():
        _say(f"{path}: {imported.summary}")
    skipped = next(iter(written.values())).skipped
    if skipped:
        _say(f"left out {len(skipped)}: {DatasetError(skipped)}")


def _options(values: Any) -> dict[str, Any]:
    """Returns the flags that the format takes; refuses others and missing ones."""
    if values.format is None:
        raise ValueError(f"name the format first: one of {', '.join(_FLAGS)}.")
    needed, possible = _FLAGS[values.format]
    given = {
        name: values[name].value
        for name in {n for pair in _FLAGS.values() for names in pair for n in names}
        if values[name].value is not None
    }
    for name in given:
        if name not in needed + possible:
            raise ValueError(
                f"--{name} has no meaning for {values.format}; it takes "
                f"{', '.join(f'--{n}' for n in needed + possible)}."
            )
    for name in needed:
        if name not in given:
            raise ValueError(f"--{name} is missing; {values.format} needs it.")
    return {k: Path(v) if k in _PATHS else v for k, v in given.items()}


def _say(text: str) -> None:
    """Prints text with file names that may not be valid Unicode."""
    print(text.encode("utf-8", "backslashreplace").decode("utf-8"))


COMMAND = Command("convert", __doc__, define_flags, run, argument="format")

"""Writes a COCO-format json file from other formats.

    python -m yolact_jax.tools.convert labelme --annotations labels --images images \
        --out train.json
    python -m yolact_jax.tools.convert yolo --annotations labels --images images \
        --classes names.txt --out train.json
    python -m yolact_jax.tools.convert png --annotations masks --images images \
        --class-name cell --out train.json
    python -m yolact_jax.tools.convert sbd --folder benchmark_RELEASE --out data/sbd

The last one writes `pascal_sbd_train.json` and `pascal_sbd_val.json`.
"""

import argparse
import pathlib
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records.dataset import coco_ground_truth
from yolact_jax.data.sources.sbd_builder import prepare_sbd
from yolact_jax.files import write_json
from yolact_jax.tools import importers

_SBD_FILES = {"train": "pascal_sbd_train.json", "validation": "pascal_sbd_val.json"}


def convert(arguments: argparse.Namespace) -> dict[pathlib.Path, dict[str, Any]]:
    """Makes the content of the json files, path -> content.

    Raises:
      DatasetError: with every problem found.
    """
    if arguments.format == "sbd":
        with tempfile.TemporaryDirectory() as records:
            dataset = prepare_sbd(data_dir=records, folder=arguments.folder)
            return {
                arguments.out / file: coco_ground_truth(dataset.source(split))
                for split, file in _SBD_FILES.items()
            }
    _require_folders(arguments)
    folders = arguments.annotations, arguments.images
    if arguments.format == "labelme":
        content = importers.from_labelme(*folders)
    elif arguments.format == "yolo":
        names = arguments.classes.read_text().split("\n")
        names = [name.strip() for name in names if name.strip()]
        content = importers.from_yolo(*folders, names)
    else:
        content = importers.from_png(*folders, arguments.class_name)
    return {arguments.out: content}


def _require_folders(arguments: argparse.Namespace) -> None:
    """Raises for folders and files that do not exist."""
    problems = [
        f"--{name} {path}: there is no such folder."
        for name in ("annotations", "images")
        for path in [getattr(arguments, name)]
        if not path.is_dir()
    ]
    if arguments.format == "yolo" and not arguments.classes.is_file():
        problems.append(f"--classes {arguments.classes}: there is no such file.")
    if problems:
        raise DatasetError(problems)


def _parser() -> argparse.ArgumentParser:
    """Describes the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="format", required=True)
    for name in ("labelme", "yolo", "png", "sbd"):
        command = commands.add_parser(name)
        folders = ["folder"] if name == "sbd" else ["annotations", "images"]
        for argument in (*folders, "out"):
            command.add_argument(f"--{argument}", type=pathlib.Path, required=True)
        if name == "yolo":
            command.add_argument(
                "--classes",
                type=pathlib.Path,
                required=True,
                help="text file with the name of class 0, 1 and so on, one a line",
            )
        if name == "png":
            command.add_argument("--class-name", default="object")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    """Converts, and says what was written."""
    try:
        files = convert(_parser().parse_args(words))
    except DatasetError as error:
        sys.exit(f"convert: {error}")
    for path, content in files.items():
        write_json(path, content)
        counts = [f"{len(content[part])} {part}" for part in content]
        print(f"{path}: {', '.join(counts)}")


if __name__ == "__main__":
    main()

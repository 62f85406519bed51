"""Examines a dataset: every fault with its ids, and what the network will see.

    python -m yolact_jax.tools.doctor --annotations train.json --images train \
        --validation_annotations val.json --validation_images val --sheet sheet.png
    python -m yolact_jax.tools.doctor --config configs/custom.py --sheet sheet.png

A config gives the data, the sizes and anchors of the network, and the augmentation of
the sheet; without one they are those of configs/coco.py.
The exit status is 1 if there are problems, with --strict also for warnings, else 0.
"""

import collections
import sys
import tempfile
from collections.abc import Iterator

from absl import app, flags
from ml_collections import config_flags

from yolact_jax import build
from yolact_jax.cli import parse_flags, start_logging
from yolact_jax.config import Config, from_config_dict
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.data.sources.coco_builder import prepare_coco
from yolact_jax.results.draw import write_png
from yolact_jax.tools.doctor import contact_sheet, findings, network_view
from yolact_jax.tools.doctor.findings import Finding

_ANNOTATIONS = flags.DEFINE_string("annotations", None, "Json file of the train split.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of its images.")
_VALIDATION_ANNOTATIONS = flags.DEFINE_string(
    "validation_annotations", None, "Json file of the validation split."
)
_VALIDATION_IMAGES = flags.DEFINE_string(
    "validation_images", None, "Folder of its images; by default that of --images."
)
_CONFIG = config_flags.DEFINE_config_file("config", None, "What to train with.")
_INPUT_SIZE = flags.DEFINE_integer(
    "input_size", None, "Side of the network input, pixels.", lower_bound=32
)
_MAX_OBJECTS = flags.DEFINE_integer(
    "max_objects", None, "Slots for annotations per image.", lower_bound=1
)
_SHEET = flags.DEFINE_string("sheet", None, "PNG file to draw augmented samples in.")
_SAMPLES = flags.DEFINE_integer("samples", 16, "Samples to draw.", lower_bound=1)
_STRICT = flags.DEFINE_bool("strict", False, "Whether warnings fail, too.")
_MOST = flags.DEFINE_integer("most", 20, "Findings of a kind to print.", lower_bound=1)
_RECORDS_DIR = flags.DEFINE_string(
    "records_dir", None, "Keep the records there; by default they are temporary."
)


def examine(dataset: Dataset, config: Config) -> Iterator[Finding]:
    """Runs all checks.

    Args:
      dataset: prepared with `skip_bad`.
      config: sizes and anchors of the network.

    Yields:
      What there is to say, in no order of importance.
    """
    yield from (Finding("problem", "unusable", text) for text in dataset.skipped)
    sources = {split: dataset.source(split) for split in dataset.splits}
    for split, source in sources.items():
        yield from findings.annotation_findings(split, source)
        yield from findings.class_findings(split, source)
        yield from findings.id_findings(split, source)
        yield from network_view.network_findings(split, source, config)
    yield from findings.duplicate_findings(sources)


def report(found: list[Finding], most: int) -> str:
    """Lists findings, problems first.

    Args:
      found: the findings.
      most: how many of each check to list.

    Returns:
      Lines, the last of which counts them.
    """
    lines = []
    levels = ("problem", "warning", "note")
    for level in levels:
        by_check = collections.defaultdict(list)
        for finding in found:
            if finding.level == level:
                by_check[finding.check].append(finding.text)
        for check, texts in by_check.items():
            lines += [f"{level} ({check}): {text}" for text in texts[:most]]
            if len(texts) > most:
                lines.append(f"{level} ({check}): and {len(texts) - most} more.")
    counts = collections.Counter(finding.level for finding in found)
    lines.append(", ".join(f"{counts[level]} {level}s" for level in levels))
    return "\n".join(lines)


def _prepare(config: Config) -> Dataset:
    """Writes records of whatever is usable."""
    if _ANNOTATIONS.value is None and _CONFIG.value:
        return build.make_dataset(config)
    return prepare_coco(
        data_dir=config.data.records_dir,
        train_annotations=_ANNOTATIONS.value,
        train_images=_IMAGES.value,
        validation_annotations=_VALIDATION_ANNOTATIONS.value,
        validation_images=_VALIDATION_ANNOTATIONS.value
        and (_VALIDATION_IMAGES.value or _IMAGES.value),
        skip_bad=True,
    )


def _config(records_dir: str) -> Config:
    """The config that is given, or else the default one, with the flags in it."""
    changes = {
        "data.input_size": _INPUT_SIZE.value,
        "data.max_objects": _MAX_OBJECTS.value,
        "data.records_dir": records_dir,
        "data.skip_bad": True,
    }
    given = from_config_dict(_CONFIG.value) if _CONFIG.value else Config()
    return given.replace({k: v for k, v in changes.items() if v is not None})


def _examine_with(config: Config) -> list[Finding]:
    """Prepares, examines, and draws the sheet."""
    found: list[Finding] = []
    try:
        dataset = _prepare(config)
        found.extend(examine(dataset, config))  # An error leaves those before it.
        if _SHEET.value:
            source = dataset.source(dataset.splits[0])
            sheet = contact_sheet.draw_sheet(
                source, config, count=_SAMPLES.value, seed=0
            )
            write_png(_SHEET.value, sheet)
    except DatasetError as error:
        found += [Finding("problem", "unusable", text) for text in error.problems]
    return found


def main(_) -> None:
    """Examines, prints the report, and exits with its status."""
    start_logging()
    with tempfile.TemporaryDirectory() as temporary:
        try:
            config = _config(_RECORDS_DIR.value or temporary)
        except ValueError as error:
            sys.exit(f"doctor: {error}")
        found = _examine_with(config)
    print(report(found, _MOST.value))
    failing = {"problem", "warning"} if _STRICT.value else {"problem"}
    sys.exit(int(any(finding.level in failing for finding in found)))


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)

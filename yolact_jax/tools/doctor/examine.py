"""All checks of a dataset, and the report of what they found."""

import collections
from collections.abc import Iterator
from pathlib import Path

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.results.draw import write_picture
from yolact_jax.tools.doctor import contact_sheet, findings, network_view, pixels
from yolact_jax.tools.doctor.findings import Finding

_SPLITS = ("train", "validation")


def examine(dataset: Dataset, config: Config) -> Iterator[Finding]:
    """Runs all checks, and yields what they find in no order of importance.

    Args:
      dataset: prepared with `skip_bad`.
      config: sizes and anchors of the network.
    """
    yield from (Finding("problem", "unusable", text) for text in dataset.skipped)
    sources = {split: dataset.source(split) for split in dataset.splits}
    for split, source in sources.items():
        yield from findings.annotation_findings(split, source)
        yield from findings.class_findings(split, source)
        yield from findings.negative_findings(split, source)
        yield from findings.id_findings(split, source)
        yield from pixels.orientation_findings(split, source)
        yield from pixels.channel_findings(split, source)
        yield from pixels.gray_findings(split, source)
        yield from network_view.network_findings(split, source, config)
    yield from findings.duplicate_findings(sources)


def report(found: list[Finding], most: int) -> str:
    """Lists findings, problems first, up to `most` of each check, and counts them."""
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


def diagnose(
    config: Config, *, sheet: str | Path | None = None, samples: int = 16
) -> list[Finding]:
    """Prepares the data of a config, examines them, and draws a sheet of samples.

    Args:
      config: with ``data.skip_bad``, so that what is bad is found and left out.
      sheet: PNG file to draw augmented samples in, or None.
      samples: how many to draw.

    Returns:
      The findings; an error of the data keeps those made before it.
    """
    found: list[Finding] = []
    try:
        data = config.data
        given = [s for s in _SPLITS if data.dir or getattr(data, f"{s}_annotations")]
        dataset = build.make_dataset(config, given)
        found.extend(examine(dataset, config))
        if sheet:
            source = dataset.source(dataset.splits[0])
            picture = contact_sheet.draw_sheet(source, config, count=samples, seed=0)
            write_picture(sheet, picture)
    except DatasetError as error:
        found += [Finding("problem", "unusable", text) for text in error.problems]
    except OSError as error:
        found.append(Finding("problem", "file", f"{error.filename}: {error.strerror}."))
    return found

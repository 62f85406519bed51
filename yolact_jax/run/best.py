"""Which steps of a run were evaluated, and which of them is the best."""

import logging
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from yolact_jax.files import read_json, write_json

_LOGGER = logging.getLogger(__name__)
EVALUATIONS_FILE = "evaluations.json"


class Evaluations:
    """Validation mask AP by step, in ``evaluations.json``.

    These are comparable over the run, unlike the rows of ``metrics.jsonl``, to which
    ``evaluate.py`` adds measurements of any kind.  Only one process of a run `writes`.
    """

    def __init__(self, workdir: str | Path, *, writes: bool = True):
        self._writes = writes
        self._path = Path(workdir) / EVALUATIONS_FILE
        self._mask_ap = _read(self._path)

    def __contains__(self, step: int) -> bool:
        return step in self._mask_ap

    def record(self, step: int, mask_ap: float | None) -> None:
        """Writes the mask AP of a step, in [0, 1], or None where it is not defined."""
        self._mask_ap[step] = mask_ap
        self._write()

    def forget_after(self, step: int) -> None:
        """Removes what a stopped run wrote after the step it resumes from."""
        kept = {s: ap for s, ap in self._mask_ap.items() if s <= step}
        if kept != self._mask_ap:
            self._mask_ap = kept
            self._write()

    def best(self, among: Collection[int] | None = None) -> int | None:
        """Returns the step with the highest mask AP, the first of equals, or None.

        `among` are the steps to choose from, all by default.
        """
        measured = {
            step: ap
            for step, ap in sorted(self._mask_ap.items())
            if ap is not None and (among is None or step in among)
        }
        return max(measured, key=measured.__getitem__, default=None)

    def without_gain(self) -> int:
        """Counts the evaluations after the best one, while that one is above 0."""
        best = self.best()
        if best is None or not self._mask_ap[best]:
            return 0
        return sum(step > best for step in self._mask_ap)

    def _write(self) -> None:
        if self._writes:
            write_json(self._path, self._mask_ap, indent=2)


def _read(path: Path) -> dict[int, float | None]:
    """Mask AP by step; what cannot be read is left out, with a warning."""
    if not path.exists():
        return {}
    try:
        content = read_json(path)
    except (ValueError, OSError) as error:
        _LOGGER.warning("%s; what it said of the best step is not used.", error)
        return {}
    odd = [repr(step)[:40] for step in content if not _is_entry(step, content[step])]
    if odd:
        _LOGGER.warning(
            "%s: %d entries are not used, as they are not a step and its mask AP: %s.",
            path,
            len(odd),
            ", ".join(odd[:5]),
        )
    return {int(s): ap for s, ap in content.items() if _is_entry(s, ap)}


def _is_entry(step: str, mask_ap: Any) -> bool:
    if not (step.isascii() and step.isdigit() and len(step) < 19):
        return False
    return mask_ap is None or (type(mask_ap) is float and math.isfinite(mask_ap))

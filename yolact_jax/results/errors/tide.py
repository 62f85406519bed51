"""What each kind of error costs: TIDE (Bolya et al., ECCV 2020), docs/errors.md."""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from yolact_jax.results.errors import precision
from yolact_jax.results.errors.matches import Matches
from yolact_jax.results.errors.scenes import Scene, each_with_offset

KINDS = (
    "classification",
    "localization",
    "both",
    "duplicate",
    "background",
    "missed",
)
HIT, IGNORED = "hit", "ignored"
FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1


@dataclasses.dataclass(frozen=True)
class Errors:
    """The kind of every detection, and the objects that nothing comes near.

    Attributes:
      matches: `FOREGROUND_IOU` is their first threshold.
      kinds: [N] str, one of `KINDS` but "missed", or `HIT`, or `IGNORED`.
      target: [N] int64, the annotation that a wrong class or place is corrected to,
        or -1.
      missed: [M] bool, whether no detection finds the object or would, corrected.
    """

    matches: Matches
    kinds: np.ndarray
    target: np.ndarray
    missed: np.ndarray


def find_errors(scenes: Sequence[Scene], matches: Matches) -> Errors:
    """Says of each detection whether it is right, or what is wrong with it.

    Args:
      scenes: from `make_scenes`.
      matches: of these scenes, `FOREGROUND_IOU` as the first threshold.
    """
    num = len(matches.image)
    kinds, target = np.full(num, HIT, "<U16"), np.full(num, -1)
    starts = np.searchsorted(matches.image, np.arange(len(scenes) + 1))
    for number, (offset, scene) in enumerate(each_with_offset(scenes)):
        rows = np.arange(starts[number], starts[number + 1])
        rows = rows[(matches.hit[rows, 0] < 0) & ~matches.ignored[rows, 0]]
        if len(rows):
            kinds[rows], target[rows] = _kinds_of(matches, scene, rows, offset)
    kinds[matches.ignored[:, 0]] = IGNORED
    missed = ~matches.crowd
    missed[matches.hit[matches.hit[:, 0] >= 0, 0]] = False
    missed[target[target >= 0]] = False
    return Errors(matches, kinds, target, missed)


def _kinds_of(matches: Matches, scene: Scene, rows: np.ndarray, offset: int):
    """Kinds and targets of the wrong detections of one image."""
    overlaps = np.where(scene.crowd, 0.0, scene.overlaps[matches.place[rows]])
    # A column of zeros, so that there is a largest one.
    overlaps = np.pad(overlaps, ((0, 0), (0, 1)))
    same = matches.labels[rows][:, None] == np.append(scene.truth_labels, -1)
    own, other = np.where(same, overlaps, 0.0), np.where(same, 0.0, overlaps)
    is_near = (own.max(1) >= BACKGROUND_IOU) & (own.max(1) < FOREGROUND_IOU)
    is_class = other.max(1) >= FOREGROUND_IOU
    conditions = {
        "localization": is_near,
        "classification": is_class,
        "duplicate": own.max(1) >= FOREGROUND_IOU,
        "background": overlaps.max(1) < BACKGROUND_IOU,
    }
    kinds = np.select(
        list(conditions.values()), [np.array(k) for k in conditions], "both"
    )
    place = np.where(is_near, own.argmax(1), other.argmax(1))
    return kinds, np.where(is_near | is_class, place + offset, -1)


def precision_without(errors: Errors, fixed: Collection[str]) -> float:
    """AP at IoU 0.5, in [0, 1], if errors of some kinds were corrected.

    A wrong class or place becomes right if its object is not found yet and no better
    scored correction finds it; else the detection is removed, as are detections of the
    other kinds.  Missed objects are no longer asked for.  A class of which nothing is
    left counts 1.

    Args:
      errors: from `find_errors`.
      fixed: some of `KINDS`.

    Returns:
      The mean over the classes that have objects; nan if there is none.
    """
    matches = errors.matches
    labels, hits = matches.labels.copy(), errors.kinds == HIT
    winners = _best_corrections(errors, fixed)
    labels[winners] = matches.truth_labels[errors.target[winners]]
    hits[winners] = True
    kept = (errors.kinds != IGNORED) & (hits | ~np.isin(errors.kinds, list(fixed)))
    wanted = ~matches.crowd
    asked = wanted & ~errors.missed if "missed" in fixed else wanted
    order = np.argsort(-matches.scores, kind="stable")
    order = order[kept[order]]
    values = []
    for label in np.unique(matches.truth_labels[wanted]):
        rows = order[labels[order] == label]
        count = int((asked & (matches.truth_labels == label)).sum())
        ap = precision.average(hits[rows], np.ones(len(rows)), count)
        values.append(float(not len(rows)) if not count else ap)
    return float(np.mean(values)) if values else float("nan")


def _best_corrections(errors: Errors, fixed: Collection[str]) -> np.ndarray:
    """Rows whose correction finds an object that nothing else finds."""
    chosen = np.isin(errors.kinds, list(fixed)) & (errors.target >= 0)
    found = errors.matches.hit[errors.kinds == HIT, 0]
    chosen &= ~np.isin(errors.target, found)
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(-errors.matches.scores[rows], kind="stable")]
    _, first = np.unique(errors.target[rows], return_index=True)
    return rows[first]


def budget(errors: Errors) -> dict[str, dict[str, float]]:
    """What each kind of error costs in AP at IoU 0.5.

    Returns:
      For every kind `count`; `alone`, the AP gained by correcting this kind only; and
      `in_turn`, the AP gained after all kinds before it are corrected too.  The last
      add up to 1 minus the AP.
    """
    base = precision_without(errors, ())
    table, before = {}, base
    for number, kind in enumerate(KINDS):
        after = precision_without(errors, KINDS[: number + 1])
        missed = kind == "missed"
        count = errors.missed.sum() if missed else (errors.kinds == kind).sum()
        table[kind] = {
            "count": int(count),
            "alone": precision_without(errors, (kind,)) - base,
            "in_turn": after - before,
        }
        before = after
    return table

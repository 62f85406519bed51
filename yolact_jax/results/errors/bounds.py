"""What masks of the prototypes' size can reach at best, by size of the objects."""

from collections.abc import Sequence

import numpy as np

from yolact_jax.results.errors import assembly
from yolact_jax.results.errors.assembly import ImageParts
from yolact_jax.results.errors.matches import match
from yolact_jax.results.errors.precision import mean_precision
from yolact_jax.results.errors.scenes import Scene

BOUNDS = ("resolution", "linear")
SIZES = {
    "all": (0.0, np.inf),
    "s": (0.0, 32.0**2),
    "m": (32.0**2, 96.0**2),
    "l": (96.0**2, np.inf),
}


def bound_scenes(parts: ImageParts) -> dict[str, Scene]:
    """The objects of an image as their own detections, through the prototypes' size.

    Returns:
      "resolution": each object as the share of each prototype cell that it covers,
      cropped to its box and enlarged again; "linear": the same with the least-squares
      best combination of the network's prototypes.  Crowds are left out.
    """
    objects = np.flatnonzero(~parts.crowd)
    truths = parts.truth_masks[objects]
    none = np.zeros(len(objects), bool)
    tables = {name: np.zeros((len(objects),) * 2) for name in BOUNDS}
    for row, number in enumerate(objects):
        box, share = parts.truth_boxes[number], parts.share(truths[row])
        soft = {"resolution": share, "linear": parts.ideal(share, box)}
        for name, mask in soft.items():
            mask = parts.mask(mask, box)
            tables[name][row] = assembly.mask_overlaps(mask, truths, none)
    return {name: _scene(parts, objects, table) for name, table in tables.items()}


def _scene(parts: ImageParts, objects: np.ndarray, overlaps: np.ndarray) -> Scene:
    labels, areas = parts.truth_labels[objects], parts.truth_areas[objects]
    crowd, scores = np.zeros(len(objects), bool), np.ones(len(objects))
    return Scene(parts.image_id, labels, areas, crowd, labels, scores, overlaps)


def bound_precision(
    images: Sequence[dict[str, Scene]], num_classes: int
) -> dict[str, dict[str, float]]:
    """AP, over IoU 0.50 to 0.95, of both bounds for objects of each size, as COCO's.

    Returns:
      bound -> size ("all", "s", "m", "l") -> AP; nan where there is no object.
    """
    return {
        name: {
            size: _mean_ap([_of_size(i[name], *span) for i in images], num_classes)
            for size, span in SIZES.items()
        }
        for name in BOUNDS
    }


def _of_size(scene: Scene, least: float, most: float) -> Scene:
    kept = (scene.truth_areas >= least) & (scene.truth_areas < most)
    return Scene(
        scene.image_id,
        scene.truth_labels[kept],
        scene.truth_areas[kept],
        scene.crowd[kept],
        scene.labels[kept],
        scene.scores[kept],
        scene.overlaps[np.ix_(kept, kept)],
    )


def _mean_ap(scenes: list[Scene], num_classes: int) -> float:
    # Never cut by a limit, which objects do not have.
    most = max([len(scene.labels) for scene in scenes], default=0) + 1
    matches = match(scenes, num_classes, max_detections=most)
    return float(mean_precision(matches).mean())

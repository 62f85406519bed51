"""The objects found in an image: what is known of them, and how to select some."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from yolact_jax.results import refine
from yolact_jax.structures import PackedMasks


class Objects:
    """The fields and the selection of `Instances`, which has their meaning."""

    def __init__(
        self,
        boxes_px: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        masks: np.ndarray | PackedMasks,
        mask_scores: np.ndarray | None = None,
        *,
        track_ids: np.ndarray | None = None,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] = (),
        image: np.ndarray | None = None,
        source: Path | None = None,
    ):
        """Takes [n, height, width] bool masks, or packed ones."""
        self.boxes_px, self.scores, self.labels = boxes_px, scores, labels
        is_plain = isinstance(masks, np.ndarray)
        self.packed = PackedMasks.pack(masks) if is_plain else masks
        self.mask_scores, self.track_ids = mask_scores, track_ids
        self.class_names = tuple(class_names)
        self.category_ids = tuple(category_ids)
        self.image, self.source = image, source

    @functools.cached_property
    def masks(self) -> np.ndarray:
        """[n, height, width] bool, at the size of the image; read-only."""
        masks = self.packed.unpack()
        masks.flags.writeable = False
        return masks

    @property
    def names(self) -> list[str]:
        """Class name of each object; its label as text if no names are known."""
        if not self.class_names:
            return [str(label) for label in self.labels.tolist()]
        return [self.class_names[label] for label in self.labels.tolist()]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Any) -> Self:
        """Selects objects as NumPy does: by number, slice, mask or numbers.

        A single number gives the `Instances` of one object.
        """
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            if not -len(self) <= index < len(self):
                raise IndexError(f"object {index} is not among the {len(self)} found")
            index = [int(index)]
        elif not isinstance(index, slice):
            index = np.asarray(index)
            index = index.astype(int) if not index.size else index
        return self._with(
            boxes_px=self.boxes_px[index],
            scores=self.scores[index],
            labels=self.labels[index],
            masks=self.packed[index],
            mask_scores=None if self.mask_scores is None else self.mask_scores[index],
            track_ids=None if self.track_ids is None else self.track_ids[index],
        )

    def __iter__(self) -> Iterator[Self]:
        return (self[number] for number in range(len(self)))

    def __repr__(self) -> str:
        height, width = self.packed.size
        return f"Instances({self.names} in {width} x {height} pixels)"

    def _with(self, **changes: Any) -> Self:
        fields = {
            "boxes_px": self.boxes_px,
            "scores": self.scores,
            "labels": self.labels,
            "masks": self.packed,
            "mask_scores": self.mask_scores,
            "track_ids": self.track_ids,
            "class_names": self.class_names,
            "category_ids": self.category_ids,
            "image": self.image,
            "source": self.source,
        }
        return type(self)(**fields | changes)

    def ranked_by_mask(self) -> Self:
        """Replaces the scores by those of the masks, if there are any."""
        if self.mask_scores is None:
            return self
        order = np.argsort(-self.mask_scores, kind="stable")
        return self._with(scores=self.mask_scores)[order]

    def with_track_ids(self, track_ids: np.ndarray) -> Self:
        """Returns the same objects with [n] int64 ids of tracks."""
        return self._with(track_ids=track_ids)

    def disjoint(self) -> Self:
        """Gives each pixel to the first object that has it, so to the best score.

            >>> sizes = result.disjoint().masks.sum(axis=(1, 2))

        Boxes and scores stay; a mask may become empty.
        """
        return self._with(masks=refine.disjoint(self.packed))

    def connected(self) -> Self:
        """Leaves out parts of masks that have leaked away from their objects.

            >>> result.connected().save("out.png")

        A connected part (over edges and corners of pixels) stays if it has a pixel in
        the middle of the box, half as wide and high as the box.  If none has, the
        largest part stays.  Boxes and scores do not change.
        """
        return self._with(masks=refine.connected(self.packed, self.boxes_px))

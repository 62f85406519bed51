"""The objects found in an image, and what they can be turned into."""

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax.data import rle
from yolact_jax.results import formats, outlines
from yolact_jax.results.draw import draw_instances, encode_picture, write_picture
from yolact_jax.structures import PackedMasks


class Instances:
    """Objects found in one image, best first.

    Masks are stored eight pixels a byte; `masks` unpacks all, iteration one at a time.

        >>> result = model.predict("photo.jpg")
        >>> sure = result[result.scores > 0.5]
        >>> for one in sure:
        ...     print(one.names[0], one.scores[0], one.masks[0].sum())
        >>> result.save("out.png")

    Attributes:
      boxes_px: [n, 4] float32, ``(x1, y1, x2, y2)`` in pixels, inside the image.
      scores: [n] float32 in [0, 1], or at least 0 where they are those of the masks.
      labels: [n] int32, counted from 0.
      packed: the masks, packed.
      mask_scores: [n] float32, at least 0, what to rank masks by (YOLACT++), or None.
      class_names: name of every label; none if not known.
      category_ids: dataset category id of every label.
      image: [height, width, 3] uint8 RGB, what the objects were found in, or None.
      source: path of the image, or None.
    """

    def __init__(
        self,
        boxes_px: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        masks: np.ndarray | PackedMasks,
        mask_scores: np.ndarray | None = None,
        *,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] = (),
        image: np.ndarray | None = None,
        source: Path | None = None,
    ):
        """Takes [n, height, width] bool masks, or packed ones."""
        self.boxes_px, self.scores, self.labels = boxes_px, scores, labels
        packed = isinstance(masks, PackedMasks)
        self.packed = masks if packed else PackedMasks.pack(masks)
        self.mask_scores = mask_scores
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

    def __getitem__(self, index: Any) -> "Instances":
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
        )

    def __iter__(self) -> Iterator["Instances"]:
        return (self[number] for number in range(len(self)))

    def __repr__(self) -> str:
        height, width = self.packed.size
        return f"Instances({self.names} in {width} x {height} pixels)"

    def _with(self, **changes: Any) -> "Instances":
        fields = {
            "boxes_px": self.boxes_px,
            "scores": self.scores,
            "labels": self.labels,
            "masks": self.packed,
            "mask_scores": self.mask_scores,
            "class_names": self.class_names,
            "category_ids": self.category_ids,
            "image": self.image,
            "source": self.source,
        }
        return Instances(**fields | changes)

    def ranked_by_mask(self) -> "Instances":
        """Replaces the scores by those of the masks, if there are any."""
        if self.mask_scores is None:
            return self
        order = np.argsort(-self.mask_scores, kind="stable")
        return self._with(scores=self.mask_scores)[order]

    def polygons(self) -> list[list[np.ndarray]]:
        """Outlines each object along the edges of its pixels; holes are filled.

            >>> areas = [cv2.contourArea(ring) for ring in result.polygons()[0]]

        Returns:
          For every object its rings, one for each connected part, as [m, 2] float32
          x and y in pixels; none for an empty mask.
        """
        return [outlines.rings(mask) for mask in self.packed]

    def rles(self) -> list[dict]:
        """Run-length codes the masks, as pycocotools reads them.

            >>> area = pycocotools.mask.area(result.rles())

        Returns:
          For every object ``{"size": [height, width], "counts": str}``.
        """
        return rle.encode_packed(self.packed.rows, self.packed.width)

    def to_coco(
        self, image_id: int = 1, *, segmentation: str = "rle", first_id: int = 1
    ) -> list[dict]:
        """Makes annotations as in a COCO json file, with a score.

            >>> result.to_coco(image_id=7)[0]["bbox"]

        Args:
          image_id: id of the image in that file.
          segmentation: "rle", which is exact, or "polygons", which fills holes.
          first_id: id of the first annotation; the others count on.

        Returns:
          Dicts with id, image_id, category_id, bbox as (x, y, width, height) in pixels,
          area in pixels, segmentation, iscrowd and score.  Objects with an empty box or
          mask are left out, as readers of COCO files refuse them.

        Raises:
          ValueError: if `segmentation` is neither.
        """
        return formats.coco_annotations(self, image_id, segmentation, first_id)

    def to_labelme(self, image_path: str | os.PathLike | None = None) -> dict:
        """Makes the content of a labelme json file: a polygon for every part.

            >>> Path("photo.json").write_text(json.dumps(result.to_labelme()))

        Args:
          image_path: of the image, as the file should name it; by default the name of
            the file that was predicted.

        Returns:
          What `json.dump` writes; parts of one object share a group id.

        Raises:
          ValueError: if no path is given or known.
        """
        path = image_path or (self.source and self.source.name)
        if not path:
            raise ValueError("`image_path` must be given: the image came as an array.")
        return formats.labelme_content(self, os.fspath(path))

    def to_supervision(self) -> Any:
        """Makes a `supervision.Detections`, with "class_name" in its data.

            >>> detections = result.to_supervision()

        Raises:
          ValueError: if the package is not installed.
        """
        return formats.supervision_detections(self)

    def crops(self, *, background: bool = False) -> list[np.ndarray]:
        """Cuts every object out of the image.

            >>> first = result.crops()[0]

        Args:
          background: whether to keep the background of the object in its box.

        Returns:
          [h, w, 4] uint8 RGBA, transparent outside of the mask; or with `background`
          [h, w, 3] uint8 RGB.

        Raises:
          ValueError: if the image is not known.
        """
        image = self._known_image()
        pairs = zip(self.boxes_px, self.packed, strict=True)
        return [outlines.cut_out(image, *pair, background) for pair in pairs]

    def draw(self, **options: Any) -> np.ndarray:
        """Draws the objects over their image.

            >>> picture = result.draw(boxes=False)

        Args:
          **options: of `yolact_jax.draw`; by default all objects are drawn.

        Returns:
          [height, width, 3] uint8 RGB.

        Raises:
          ValueError: if the image is not known.
        """
        options = {"score_threshold": 0.0} | options
        return draw_instances(self._known_image(), self, **options)

    def save(self, path: str | os.PathLike, **options: Any) -> None:
        """Writes the drawing as a PNG or JPEG file, completely or not at all.

            >>> result.save("out.png")

        Args:
          path: ends in .png, .jpg or .jpeg.
          **options: of `draw`.

        Raises:
          ValueError: if the path ends in something else, or is the image's own.
        """
        path = Path(path)
        if self.source and path.exists() and path.samefile(self.source):
            raise ValueError(f"`path` {path} is the image itself; give another path.")
        write_picture(path, self.draw(**options))

    def _repr_png_(self) -> bytes | None:
        """Shows the drawing in a notebook."""
        return None if self.image is None else encode_picture(self.draw(), ".png")

    def _known_image(self) -> np.ndarray:
        if self.image is None:
            raise ValueError(
                "these Instances have no image; call yolact_jax.draw(image, instances)."
            )
        return self.image

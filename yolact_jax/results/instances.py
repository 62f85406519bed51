"""The objects found in an image, and what they can be turned into."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax.data import rle
from yolact_jax.results import formats, outlines
from yolact_jax.results.draw import draw_instances, encode_picture, write_picture
from yolact_jax.results.objects import Objects


class Instances(Objects):
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
      track_ids: [n] int64, from 1, the same in all frames of a video for one object; -1
        for objects on no track; or None, see `yolact_jax.track`.
      class_names: name of every label; none if not known.
      category_ids: dataset category id of every label.
      image: [height, width, 3] uint8 RGB, what the objects were found in, or None.
      source: path of the image, or None.
    """

    def polygons(self, tolerance_px: float = 0.0) -> list[list[np.ndarray]]:
        """Outlines each object along the edges of its pixels; holes are filled.

            >>> areas = [cv2.contourArea(ring) for ring in result.polygons()[0]]

        Args:
          tolerance_px: how far outlines may be from the edges, to have fewer corners.

        Returns:
          For every object its rings, one for each connected part, as [m, 2] float32
          x and y in pixels; none for an empty mask.

        Raises:
          ValueError: if the tolerance is negative or not finite.
        """
        return [outlines.rings(mask, tolerance_px) for mask in self.packed]

    def rles(self) -> list[dict]:
        """Run-length codes the masks, as pycocotools reads them.

            >>> area = pycocotools.mask.area(result.rles())

        Returns:
          For every object ``{"size": [height, width], "counts": str}``.
        """
        return [
            rle.encode_packed(window.rows, window.top, window.left, self.packed.size)
            for window in self.packed.windows
        ]

    def to_id_map(self) -> np.ndarray:
        """Numbers the pixels by object: 1 for the first, 0 for none.

            >>> cv2.imwrite("ids.png", result.to_id_map())

        Returns:
          [height, width] uint16; where objects overlap, the number of the first.

        Raises:
          ValueError: if there are more than 65535 objects.
        """
        return formats.id_map(self)

    def to_coco(
        self,
        image_id: int = 1,
        *,
        segmentation: str = "rle",
        first_id: int = 1,
        tolerance_px: float = 0.0,
    ) -> list[dict]:
        """Makes annotations as in a COCO json file, with a score.

            >>> result.to_coco(image_id=7)[0]["bbox"]

        Args:
          image_id: id of the image in that file.
          segmentation: "rle", which is exact, or "polygons", which fills holes.
          first_id: id of the first annotation; the others count on.
          tolerance_px: of polygons, as for `polygons`.

        Returns:
          Dicts with id, image_id, category_id, bbox as (x, y, width, height) in pixels,
          area in pixels, segmentation, iscrowd and score.  Objects with an empty box or
          mask are left out, as readers of COCO files refuse them.

        Raises:
          ValueError: if `segmentation` is neither, or the tolerance is out of range.
        """
        return formats.coco_annotations(
            self, image_id, segmentation, first_id, tolerance_px
        )

    def to_labelme(
        self, image_path: str | os.PathLike | None = None, *, tolerance_px: float = 0.0
    ) -> dict:
        """Makes the content of a labelme json file: a polygon for every part.

            >>> Path("photo.json").write_text(json.dumps(result.to_labelme()))

        Args:
          image_path: of the image, as the file should name it; by default the name of
            the file that was predicted.
          tolerance_px: as for `polygons`.

        Returns:
          What `json.dump` writes; parts of one object share a group id.

        Raises:
          ValueError: if no path is given or known.
        """
        path = image_path or (self.source and self.source.name)
        if not path:
            raise ValueError("`image_path` must be given: the image came as an array.")
        return formats.labelme_content(self, os.fspath(path), tolerance_px)

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
        own = self.source
        if own and own.exists() and path.exists() and path.samefile(own):
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

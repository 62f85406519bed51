"""The front door: images of any kind in, `Instances` out."""

import collections
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from yolact_jax.data.inputs import read_inputs
from yolact_jax.data.pixels import RGB, Pixels, shown
from yolact_jax.inference.engine import Engine
from yolact_jax.inference.options import Choices, ClassKey, PredictOptions
from yolact_jax.inference.outputs import Found
from yolact_jax.results.instances import Instances
from yolact_jax.results.tiles import check_tiling, in_tiles


class Predictor:
    """A trained model that finds objects in images; `yolact_jax.load` makes one.

    The first image of each size class compiles a program; later ones reuse it.

        >>> model = yolact_jax.load(run)
        >>> model.predict("photo.jpg", score_threshold=0.5).names
        >>> for result in model.stream("photos"):
        ...     print(result.source, len(result))

    Attributes:
      class_names: name of each label.
      category_ids: dataset category id of each label.
      pixels: how the numbers of images become the channels that the network sees.
    """

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        class_names: Sequence[str],
        category_ids: Sequence[int] = (),
        pixels: Pixels = RGB,
    ):
        self._make_engine, self.pixels = make_engine, pixels
        self.class_names = tuple(class_names)
        numbers = range(1, len(self.class_names) + 1)
        self.category_ids = tuple(category_ids) or tuple(numbers)

    @functools.cached_property
    def engine(self) -> Engine:
        """What runs the model; the device holds the weights from the first use on.

        Raises:
          ValueError: if the weights are not those of the config's model.
        """
        return self._make_engine()

    def predict(
        self,
        image: Any,
        *,
        score_threshold: float | Mapping[ClassKey, float] = 0.3,
        classes: ClassKey | Iterable[ClassKey] | None = None,
        mask_margin: float = 0.0,
        iou_threshold: float | None = None,
        tile: int | None = None,
        overlap: float = 0.2,
    ) -> Any:
        """Finds the objects of one image, or of several.

            >>> one = model.predict("photo.jpg")
            >>> several = model.predict(["photo.jpg", array, pil_image])
            >>> sure = model.predict("photo.jpg", score_threshold={"dog": 0.6})
            >>> small_ones = model.predict("photo.jpg", tile=64)

        No value of an option compiles a program again, but a first tile of its size.

        Args:
          image: a path, a PIL image, or a uint8 or uint16 array with the numbers of
            such files: RGB [h, w, 3], gray [h, w] or RGBA [h, w, 4], whose alpha is
            dropped, or [h, w, N] for a model of N channels; or a list, a batch
            [n, h, w, N] or another iterable of these.  The EXIF orientation is applied.
          score_threshold: least score of an object, in [0, 1]; or a mapping of names
            or category ids to such scores, in which "*" stands for all other classes,
            0.3 by default.  YOLACT++ ranks objects by the scores of their masks.
          classes: names or category ids of the classes to find; None finds all.
          mask_margin: how far a mask may leave its box, as a fraction of the width and
            height of the box, at least 0.  At 0, as published, it may by one pixel of
            the prototypes.
          iou_threshold: overlap above which NMS acts, in [0, 1]; None takes that of
            the config.
          tile: side in pixels of the tiles in which to search an image that is much
            larger than the network; None searches it as a whole.
          overlap: share of a tile that its neighbor shows too, from 0 to 0.9.  Objects
            that a border cuts are joined if they are in it.

        Returns:
          `Instances`, or a list of them.

        Raises:
          ValueError: if an image is missing, damaged or of another type, an option is
            out of range, or a class is unknown.
        """
        options = PredictOptions(
            score_threshold, classes, mask_margin, iou_threshold, tile, overlap
        )
        if isinstance(image, Iterable) and not _is_single(image):
            return list(self.stream(image, **vars(options)))
        return next(self._found(read_inputs([image], self.pixels), options))

    __call__ = predict

    def stream(
        self,
        images: Any,
        *,
        score_threshold: float | Mapping[ClassKey, float] = 0.3,
        classes: ClassKey | Iterable[ClassKey] | None = None,
        mask_margin: float = 0.0,
        iou_threshold: float | None = None,
        tile: int | None = None,
        overlap: float = 0.2,
    ) -> Iterator[Instances]:
        """Finds the objects of many images one after the other, in constant memory.

            >>> results = model.stream("photos", classes=["dog", "cat"])
            >>> names = [result.names for result in results]

        Args:
          images: an iterable of what `predict` takes; or a source: the path of an
            image, of a video or of a folder of them; a pattern such as
            ``photos/*.jpg``; the number of a camera; or the address of a stream such as
            ``rtsp://...``.  Videos give a result for each frame.
          score_threshold: as for `predict`, like the other options.
          classes: which classes to find.
          mask_margin: how far a mask may leave its box.
          iou_threshold: overlap above which NMS acts.
          tile: side of the tiles in which to search.
          overlap: share of a tile that its neighbor shows too.

        Returns:
          An iterator of the results, in order.

        Raises:
          ValueError: as for `predict`; about an image, when it is its turn.
        """
        options = PredictOptions(
            score_threshold, classes, mask_margin, iou_threshold, tile, overlap
        )
        _require_many(images)
        return self._found(_copied(read_inputs(images, self.pixels)), options)

    def _found(
        self, images: Iterator[tuple[np.ndarray, Path | None]], options: PredictOptions
    ) -> Iterator[Instances]:
        find = functools.partial(self._stream, choices=self.choices(options))
        if options.tile is None:
            return find(images)
        check_tiling(options.tile, options.overlap, self.engine.smallest_anchor_px)
        return in_tiles(find, images, options.tile, options.overlap)

    def choices(self, options: PredictOptions) -> Choices:
        """Makes the run-time inputs of the program.

        Raises:
          ValueError: if an option is out of range, or a class is unknown.
        """
        return options.choices(
            self.class_names,
            self.category_ids,
            candidate_threshold=self.engine.candidate_threshold,
            iou_threshold=self.engine.iou_threshold,
        )

    def _stream(
        self, images: Iterable[tuple[np.ndarray, Path | None]], choices: Choices
    ) -> Iterator[Instances]:
        waiting: collections.deque[tuple[np.ndarray, Path | None]] = collections.deque()

        def pixels() -> Iterator[np.ndarray]:
            for image in images:
                waiting.append(image)
                yield image[0]

        for found in self.engine.stream(pixels(), choices):
            yield self._instances(found, *waiting.popleft()).ranked_by_mask()

    def detect_unordered(
        self, images: Iterable[np.ndarray]
    ) -> Iterator[tuple[int, Instances]]:
        """Yields detections of any score, as evaluation needs them, in full batches.

        Args:
          images: [h, w, N] uint8, as the network sees them, of any sizes.

        Yields:
          The index of an image and its instances, with separate scores of boxes and
          masks; not in order.

        Raises:
          ValueError: if an image has another type or shape.
        """
        everything = self.choices(PredictOptions(score_threshold=0.0))
        for index, found in self.engine.stream_unordered(images, everything):
            yield index, self._instances(found)

    def _instances(
        self, found: Found, image: np.ndarray | None = None, source: Path | None = None
    ) -> Instances:
        detections, masks = jax.tree.map(np.asarray, found[0]), found[1]
        height, width = masks.size
        scale = np.array([width, height, width, height], np.float32)
        return Instances(
            np.clip(detections.boxes, 0, 1) * scale,
            detections.scores,
            detections.labels,
            masks,
            detections.mask_scores,
            class_names=self.class_names,
            category_ids=self.category_ids,
            image=None if image is None else shown(image),
            source=source,
        )


def _is_single(image: Any) -> bool:
    """Whether it is no iterable of images; JAX's and PyTorch's arrays have rows."""
    is_array = hasattr(image, "__array__") or hasattr(image, "__array_interface__")
    is_batch = getattr(image, "ndim", 0) == 4
    return isinstance(image, str | Path) or (is_array and not is_batch)


def _require_many(images: Any) -> None:
    """Refuses one image, whose rows would be taken for images."""
    if _is_single(images) and not isinstance(images, str | Path):
        raise ValueError(
            "`images` is one image, where many are expected; give it to `predict`, or"
            " as a list of one."
        )


def _copied(
    images: Iterable[tuple[np.ndarray, Path | None]],
) -> Iterator[tuple[np.ndarray, Path | None]]:
    """Copies arrays of the caller, who may reuse them while a batch fills."""
    for image, source in images:
        yield image if source else image.copy(), source

"""Runs a trained model on images: uint8 pixels in, detections and masks out."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import NamedSharding, PartitionSpec

from yolact_jax.config import Eval, InputFrame
from yolact_jax.inference.find import make_find_fn
from yolact_jax.inference.masks import full_size_masks
from yolact_jax.inference.neighbors import (
    alike_neighbors,
    batch_that_fits,
    check_image,
)
from yolact_jax.inference.options import Choices
from yolact_jax.inference.outputs import Found, Outputs, found_in

_MOST_MASK_BYTES = 2**26
_CANVAS_SIDES = (64, 128, 256, 384, 512, 640, 768, 1024, 1280, 1536, 2048)


def make_predict_fn(
    model: nn.Module,
    anchors_cxcywh: np.ndarray,
    frame: InputFrame,
    options: Eval,
    *,
    sharding: NamedSharding | None = None,
    mask_slots: int | None = None,
) -> Callable[..., Outputs]:
    """Compiles the whole of inference into one program per canvas size.

    Args:
      model: a `Yolact`.
      anchors_cxcywh: [A, 4] float32.
      frame: the network input, and how images are put on it.
      options: which NMS, and its sizes; thresholds are arguments of the result.
      sharding: of B over several devices, each of which runs the program of one
        device on its part; None for one device.
      mask_slots: M, for how many detections of an image there is room for a mask; None
        takes as many of the D as 64 MiB hold, which are all up to 2048 pixels for 100.
        With a number, the sides of canvases may be symbols of `jax.export`, of at least
        `ops.masks.LEAST_SYMBOLIC_SIDE`.

    Returns:
      ``predict(variables, canvases, sizes, choices)``, jitted: canvases [B, Hc, Wc, 3]
      uint8 RGB hold an image of height and width ``sizes`` ([B, 2] int32) in their
      top-left corner; ``choices`` are `Choices`.  Changing sizes and choices does not
      recompile.
    """
    find = make_find_fn(model, anchors_cxcywh, frame, options)

    def predict(variables, canvases, sizes, choices: Choices) -> Outputs:
        detections, predictions = find(variables, canvases, sizes, choices)
        canvas_size = canvases.shape[1:3]
        slots = mask_slots or _slots_that_fit(canvas_size)
        with_mask = jax.tree.map(lambda x: x[:, :slots], detections)
        # One image after the other: each fills a device, and all would fill memory.
        packed = jax.lax.map(
            lambda image: full_size_masks(
                *image,
                canvas_size=canvas_size,
                frame=frame,
                mask_margin=choices.mask_margin,
                at_once=mask_slots,
            ),
            (with_mask, predictions.prototypes, sizes),
        )
        return Outputs(detections, packed, predictions.prototypes)

    if sharding is not None:
        whole, part = PartitionSpec(), sharding.spec
        # Left to the compiler, the devices would gather each other's candidates.
        predict = jax.shard_map(
            predict,
            mesh=sharding.mesh,
            in_specs=(whole, part, part, whole),
            out_specs=part,
            check_vma=False,  # The loops of NMS start from constants.
        )
    return jax.jit(predict)


def prepare_variables(
    model: nn.Module, variables: dict, input_size: tuple[int, int]
) -> dict:
    """Computes once what depends on the parameters and the size of the input only.

    Returns:
      The variables and the collection "prepared": kernels in the type and form in
      which convolutions use them, with batch normalization folded in.
    """
    return {**variables, **_prepare(model, input_size, variables)}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _prepare(
    model: nn.Module, input_size: tuple[int, int], variables: dict
) -> Mapping[str, Any]:
    images = jnp.zeros((1, *input_size, model.normalization.channels))
    _, prepared = model.apply(variables, images, train=False, mutable=["prepared"])
    return prepared


@dataclasses.dataclass(frozen=True)
class Engine:
    """A model with its weights, ready for images of any size.

    Attributes:
      predict_fn: from `make_predict_fn`.
      variables: parameters and batch statistics, from `prepare_variables`.
      batch_size: images per call at most, over all devices; fewer if they are large.
      candidate_threshold: least score of an anchor's best class to enter Fast NMS.
      iou_threshold: overlap above which Fast NMS drops the lower score, unless the
        options of a call say otherwise.
      channels: N, of the images.
      smallest_anchor_px: longer side of the smallest anchor, pixels of the network
        input; smaller pictures make no sense.
      sharding: how the images of a call lie on the devices, as for `make_predict_fn`.
      least_side: of a canvas, pixels.
      frame: the network input; None if images are stretched to it.
    """

    predict_fn: Callable[..., Outputs]
    variables: Any
    batch_size: int
    candidate_threshold: float
    iou_threshold: float
    channels: int
    smallest_anchor_px: int
    sharding: NamedSharding | None = None
    least_side: int = _CANVAS_SIDES[0]
    frame: InputFrame | None = None

    def stream(self, images: Iterable[np.ndarray], choices: Choices) -> Iterator[Found]:
        """Yields the chosen objects of many [h, w, N] uint8 images, in order.

        Images are batched with neighbors that fit on the same canvas.

        Raises:
          ValueError: if an image has another type or shape.
        """
        kinds = self._canvas_side, self._batch_size
        for group in alike_neighbors(images, *kinds, self.channels):
            yield from self._run(group, choices)

    def stream_unordered(
        self, images: Iterable[np.ndarray], choices: Choices
    ) -> Iterator[tuple[int, Found]]:
        """Finds the objects of many images, in full batches whatever their order.

        Args:
          images: [h, w, N] uint8, of any sizes; up to a batch of each canvas size
            is in memory.
          choices: which objects.

        Yields:
          The index of an image and what is found in it, not in order.

        Raises:
          ValueError: if an image has another type or shape.
        """
        # The device works on the next batch while the caller uses the last.
        waiting: tuple[Sequence[int], Iterator[Found]] = (), iter(())
        for group in self._full_batches(images):
            indices, pixels = zip(*group, strict=True)
            last, waiting = waiting, (indices, self._run(pixels, choices))
            yield from zip(*last, strict=True)
        yield from zip(*waiting, strict=True)

    def _full_batches(
        self, images: Iterable[np.ndarray]
    ) -> Iterator[list[tuple[int, np.ndarray]]]:
        """Yields images of one canvas size with their indices, the last few as well."""
        groups: dict[int, list[tuple[int, np.ndarray]]] = {}
        for index, image in enumerate(images):
            check_image(image, self.channels)
            side = self._canvas_side(image)
            group = groups.setdefault(side, [])
            group.append((index, image))
            if len(group) == self._batch_size(side):
                yield groups.pop(side)
        yield from groups.values()

    def _canvas_side(self, image: np.ndarray) -> int:
        return max(self.least_side, canvas_side(image))

    def _batch_size(self, side: int) -> int:
        devices = len(self.sharding.device_set) if self.sharding else 1
        return batch_that_fits(self.batch_size, side**2, devices)

    def _run(self, images: Sequence[np.ndarray], choices: Choices) -> Iterator[Found]:
        """Starts the device at once, and waits for it when the first is asked for."""
        side = self._canvas_side(images[0])
        batch_size = self._batch_size(side)
        canvases = np.zeros((batch_size, side, side, self.channels), np.uint8)
        sizes = np.ones((batch_size, 2), np.int32)
        for index, image in enumerate(images):
            canvases[index, : image.shape[0], : image.shape[1]] = image
            sizes[index] = image.shape[:2]
        outputs = self.predict_fn(
            self.variables,
            jax.device_put(canvases, self.sharding),
            jax.device_put(sizes, self.sharding),
            choices,
        )
        return found_in(outputs, images, choices, self.frame)


def _slots_that_fit(canvas_size: tuple[int, int]) -> int:
    height, width = canvas_size
    return max(1, _MOST_MASK_BYTES // (height * -(-width // 8)))


def canvas_side(image: np.ndarray) -> int:
    """Side of the square canvas that an image lies on.

    Few distinct canvases mean few compilations.
    """
    longest = max(image.shape[:2])
    for side in _CANVAS_SIDES:
        if longest <= side:
            return side
    return -(-longest // 1024) * 1024

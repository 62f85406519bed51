"""YOLACT: backbone, FPN, ProtoNet and heads put together (Bolya et al. 2019)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from yolact_jax.models.fpn import FPN
from yolact_jax.models.heads import PredictionHead, ProtoNet
from yolact_jax.models.layers import Conv
from yolact_jax.structures import Predictions

_MEAN_RGB = (123.68, 116.78, 103.94)
_STD_RGB = (58.40, 57.12, 57.38)


def normalize_images(images: jax.Array) -> jax.Array:
    """Shifts and scales RGB images as the ResNet models expect them.

    Args:
      images: [..., H, W, 3] in 0..255, any dtype.

    Returns:
      [..., H, W, 3] float32 with about zero mean and unit variance.
    """
    shape = (1,) * (images.ndim - 1) + (3,)
    mean = jnp.asarray(_MEAN_RGB, jnp.float32).reshape(shape)
    std = jnp.asarray(_STD_RGB, jnp.float32).reshape(shape)
    return (images.astype(jnp.float32) - mean) / std


class Yolact(nn.Module):
    """The YOLACT network.

    Attributes:
      backbone: module that returns C3, C4, C5 and takes `use_running_average`.
      num_classes: C, foreground classes.
      anchors_per_cell: anchor shapes per map cell.
      num_prototypes: K.
      features: channels of FPN, ProtoNet and head.
      freeze_bn: keep normalising by the stored statistics while training.
      dtype: type in which convolutions run.
    """

    backbone: nn.Module
    num_classes: int
    anchors_per_cell: int = 3
    num_prototypes: int = 32
    features: int = 256
    freeze_bn: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> Predictions:
        """Runs the network.

        Args:
          images: [B, H, W, 3] float32 from `normalize_images`.
          train: normalise by batch statistics (unless frozen) and compute the
            semantic logits, which only the training loss uses.

        Returns:
          The predictions for every anchor.
        """
        common = {"features": self.features, "dtype": self.dtype}
        maps = self.backbone(images, use_running_average=not train or self.freeze_bn)
        levels = FPN(**common, name="fpn")(maps)
        prototypes = ProtoNet(self.num_prototypes, **common, name="protonet")(levels[0])
        head = PredictionHead(
            self.num_classes,
            self.anchors_per_cell,
            self.num_prototypes,
            **common,
            name="head",
        )
        boxes, classes, coefficients = (
            jnp.concatenate(parts, axis=1)
            for parts in zip(*map(head, levels), strict=True)
        )
        semantic = self._semantic_logits(levels[0]) if train else None
        return Predictions(boxes, classes, coefficients, prototypes, semantic)

    def _semantic_logits(self, p3: jax.Array) -> jax.Array:
        conv = Conv(self.num_classes, 1, dtype=self.dtype, name="semantic")
        return conv(p3).astype(jnp.float32)

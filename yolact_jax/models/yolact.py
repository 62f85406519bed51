"""YOLACT: backbone, FPN, ProtoNet and heads together (Bolya et al. 2019)."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

from yolact_jax.models.fpn import FPN
from yolact_jax.models.heads import PredictionHead, ProtoNet
from yolact_jax.models.layers import Conv
from yolact_jax.models.normalize import Normalization
from yolact_jax.structures import Predictions


class Yolact(nn.Module):
    """The YOLACT network.

    Attributes:
      backbone: module that returns C3, C4, C5 and takes `use_running_average`.
      num_classes: C, foreground classes.
      anchors_per_cell: anchor shapes per map cell.
      num_prototypes: K.
      features: channels of FPN, ProtoNet and head.
      freeze_bn: keep normalizing by the stored statistics while training.
      mask_iou_net: the network that scores masks in YOLACT++, or None.
      dtype: type in which convolutions run.
      winograd: see `Conv`; the backbone has its own.
    """

    backbone: nn.Module
    num_classes: int
    anchors_per_cell: int
    num_prototypes: int
    features: int
    freeze_bn: bool = False
    mask_iou_net: nn.Module | None = None
    dtype: Any = jnp.float32
    winograd: bool = False

    @property
    def normalization(self) -> Normalization:
        """How `normalize_images` should prepare images for the backbone."""
        return self.backbone.normalization

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> Predictions:
        """Predicts for every anchor.

        Args:
          images: [B, H, W, N] float32 from `normalize_images`.
          train: normalize by batch statistics (unless frozen) and compute the
            semantic logits, which only the training loss uses.
        """
        common = {
            "features": self.features,
            "dtype": self.dtype,
            "winograd": self.winograd,
        }
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
        if self.is_initializing() and self.mask_iou_net is not None:
            self.mask_iou_net(prototypes[..., 0])
        return Predictions(boxes, classes, coefficients, prototypes, semantic)

    def mask_ious(self, masks: jax.Array) -> jax.Array:
        """Predicts the overlap of masks with their objects (YOLACT++ only).

        Args:
          masks: [D, Hp, Wp] float32, soft masks cropped to their boxes.

        Returns:
          [D, C] float32, at least 0, for each class the mask may be of.
        """
        assert self.mask_iou_net is not None, "only YOLACT++ scores masks"
        return self.mask_iou_net(masks)

    def _semantic_logits(self, p3: jax.Array) -> jax.Array:
        conv = Conv(self.num_classes, 1, dtype=self.dtype, name="semantic")
        return conv(p3).astype(jnp.float32)


def mask_iou_fn_of(
    model: nn.Module, variables: Mapping[str, Any]
) -> Callable[[jax.Array], jax.Array] | None:
    """Binds the mask scoring network of a model to its variables, if it has one."""
    if model.mask_iou_net is None:
        return None
    score = partial(model.apply, variables, method="mask_ious")
    return lambda masks: cast("jax.Array", score(masks))

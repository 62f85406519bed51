"""The published models, filled with the golden weights."""

import dataclasses
from functools import cached_property, lru_cache
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from parity.weights import golden_weights
from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.weights.state_dict import load_state_dict
from yolact_jax.weights.torch_names import torch_key, torch_shape
from yolact_jax.zoo.specs import spec

NUM_CLASSES = {
    "yolact_base": 80,
    "yolact_im400": 80,
    "yolact_im700": 80,
    "yolact_darknet53": 80,
    "yolact_resnet50": 80,
    "yolact_resnet50_pascal": 20,
    "yolact_plus_base": 80,
    "yolact_plus_resnet50": 80,
}
"""Foreground classes of every published model."""
NAMES = tuple(NUM_CLASSES)
LEVELS = ("P3", "P4", "P5", "P6", "P7")


@dataclasses.dataclass(frozen=True)
class GoldenModel:
    """A published config and the rule of its weights.

    Attributes:
      name: of the config.
      freeze_bn: "yes" or "no": whether training uses the stored statistics.
      num_classes: C, foreground classes; 0 for the published number.
      input_size: side of the network input, pixels; 0 for that of the config.
      seed: of the weights.
      winograd: as ``model.winograd`` of the config.
      rule: gains that differ from `parity.weights.RULE`, as sorted pairs.
    """

    name: str
    freeze_bn: str = "yes"
    num_classes: int = 0
    input_size: int = 0
    seed: int = 0
    rule: tuple[tuple[str, float], ...] = ()
    winograd: str = "auto"

    def __post_init__(self):
        if not self.num_classes:
            object.__setattr__(self, "num_classes", NUM_CLASSES[self.name])
        if not self.input_size:
            object.__setattr__(self, "input_size", self.config.data.input_size)

    @cached_property
    def config(self) -> Config:
        """The published config, with `freeze_bn` and the input size."""
        changes: dict[str, Any] = {
            "model.freeze_bn": self.freeze_bn,
            "model.winograd": self.winograd,
        }
        if self.input_size:
            changes["data.input_size"] = self.input_size
        return spec(self.name).replace(changes)

    @cached_property
    def module(self) -> nn.Module:
        """The network."""
        return build.make_model(self.config, self.num_classes)

    @cached_property
    def abstract_variables(self) -> dict:
        """Shapes of the variables."""
        images = jnp.zeros((1, self.input_size, self.input_size, 3))
        return jax.eval_shape(
            lambda: self.module.init(jax.random.key(0), images, train=True)
        )

    def tensors(self, **rule: float) -> dict[str, np.ndarray]:
        """The golden weights as a state dict; `rule` overrides gains."""
        rule = dict(self.rule) | rule
        return golden_weights(self.torch_shapes, self.num_classes, rule, self.seed)

    def variables(self, **rule: float) -> dict:
        """Variables with the golden weights; `rule` overrides gains."""
        return load_state_dict(
            self.tensors(**rule), self.abstract_variables, source="golden weights"
        )[0]

    @property
    def torch_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every key of the state dict."""
        flat = cast("dict[Any, Any]", flatten_dict(self.abstract_variables))
        return {torch_key(p): torch_shape(p, a.shape) for p, a in flat.items()}


@lru_cache(maxsize=1)
def forward_fn(model: GoldenModel):
    """Compiles the network with all of its stages as outputs."""

    @jax.jit
    def forward(variables, inputs):
        # Frozen statistics in training mode: the semantic logits exist there only.
        predictions, state = model.module.apply(
            variables,
            inputs,
            train=True,
            capture_intermediates=lambda module, _: module.name in ("backbone", "fpn"),
            mutable=["intermediates"],
        )
        seen = state["intermediates"]
        features = seen["backbone"]["__call__"][0]
        levels = seen["fpn"]["__call__"][0]
        stages = dict(zip(("C3", "C4", "C5"), features, strict=True))
        return predictions, stages | dict(zip(LEVELS, levels, strict=True))

    return forward


def to_nchw(array) -> np.ndarray:
    """Orders [B, h, w, c] as PyTorch does."""
    return np.asarray(array).transpose(0, 3, 1, 2)

"""The published models, filled with the golden weights."""

import dataclasses
from functools import cached_property, lru_cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from parity.weights import BACKGROUND_BIAS, golden_weights
from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.weights.state_dict import load_state_dict
from yolact_jax.weights.torch_names import torch_key, torch_shape
from yolact_jax.zoo.specs import spec

NAMES = tuple(BACKGROUND_BIAS)
NUM_CLASSES = {name: 20 if "pascal" in name else 80 for name in NAMES}
LEVELS = ("P3", "P4", "P5", "P6", "P7")


@dataclasses.dataclass(frozen=True)
class GoldenModel:
    """A published config.

    Attributes:
      name: of the config.
      freeze_bn: "yes" or "no": whether training uses the stored statistics.
    """

    name: str
    freeze_bn: str = "yes"

    @cached_property
    def config(self) -> Config:
        """The published config, with `freeze_bn`."""
        return spec(self.name).replace({"model.freeze_bn": self.freeze_bn})

    @property
    def input_size(self) -> int:
        """Side of the network input, pixels."""
        return self.config.data.input_size

    @cached_property
    def module(self) -> nn.Module:
        """The network."""
        return build.make_model(self.config, NUM_CLASSES[self.name])

    @cached_property
    def abstract_variables(self) -> dict:
        """Shapes of the variables."""
        images = jnp.zeros((1, self.input_size, self.input_size, 3))
        return jax.eval_shape(
            lambda: self.module.init(jax.random.key(0), images, train=True)
        )

    def variables(self, **rule: float) -> dict:
        """Variables with the golden weights; `rule` overrides gains."""
        rule = {"conf_background_bias": BACKGROUND_BIAS[self.name]} | rule
        tensors = golden_weights(self.torch_shapes, NUM_CLASSES[self.name], rule)
        return load_state_dict(
            tensors, self.abstract_variables, source="golden weights"
        )[0]

    @property
    def torch_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every key of the state dict."""
        flat = flatten_dict(self.abstract_variables)
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

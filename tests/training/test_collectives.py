"""What devices tell each other in a step: sums, and nothing of the size of a batch."""

import re

import jax
import pytest

from yolact_jax.ops import anchors
from yolact_jax.training import parts
from yolact_jax.training.memory import abstract_batch
from yolact_jax.training.multihost.mesh import make_layout
from yolact_jax.zoo.specs import MODERN, spec

pytestmark = pytest.mark.long

NUM_DEVICES, BATCH_SIZE, NUM_CLASSES = 4, 8, 5
VARIANTS = {
    "published": {},
    "in parts": {"train.accumulate_steps": 2},
    "modern": MODERN,
    # The least input that the mask scoring network allows.
    "mask scoring": {"data.input_size": 249, "model.mask_iou": True},
    "plus": {
        "data.input_size": 249,
        "model.backbone": "resnet50",
        "model.deformable_interval": 2,
        "model.mask_iou": True,
    },
}
SLOW = ("plus",)
COLLECTIVES = re.compile(
    r"= (?P<shapes>.*?) (?P<kind>all-\w+(?:-\w+)*|collective-\w+|reduce-scatter)"
    r"(?:-start)?\("
)


def make_config(**changes):
    small = {
        "model.backbone_width": 8,
        "model.features": 16,
        "data.input_size": 64,
        "train.batch_size": BATCH_SIZE,
    }
    return spec("shapes").replace(small | changes)


def collectives(config) -> list[tuple[str, list[int]]]:
    """(kind, sizes of its arrays) of each in the compiled step."""
    layout = make_layout(jax.devices()[:NUM_DEVICES])
    state = parts.abstract_state(config, NUM_CLASSES, layout.replicated)
    batch = abstract_batch(config, BATCH_SIZE, layout.sharded)
    step = parts.compile_lazily(parts.train_step_fn(config, NUM_CLASSES), layout)
    compiled = step.lower(state, batch, jax.random.key(0))
    text = compiled.compile().as_text()
    assert text is not None
    return [
        (match["kind"], [_size(dims) for dims in _dimensions(match["shapes"])])
        for match in COLLECTIVES.finditer(text)
    ]


def _dimensions(shapes: str) -> list[str]:
    return re.findall(r"\w+\[([\d,]*)\]", shapes)


def _size(dimensions: str) -> int:
    size = 1
    for length in filter(None, dimensions.split(",")):
        size *= int(length)
    return size


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in VARIANTS
    ],
)
def test_devices_add_up_gradients_and_statistics_only(name):
    if jax.device_count() < NUM_DEVICES:
        pytest.skip("needs 4 devices")
    config = make_config(**VARIANTS[name])
    found = collectives(config)
    assert {kind for kind, _ in found} == {"all-reduce"}
    state = parts.abstract_state(config, NUM_CLASSES, sharding=None)
    parameters, statistics = _total(state.params), _total(state.batch_stats)
    # On CPUs, XLA sends the gradient of the head for each of its levels; of statistics
    # the sums, forward and backward, and those of parts once more.
    head = (anchors.NUM_LEVELS - 1) * _total(state.params["head"])
    sent = sum(size for _, sizes in found for size in sizes)
    assert parameters <= sent <= parameters + head + 8 * statistics + 100


def _total(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))

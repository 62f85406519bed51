"""A tiny model and made-up batches, for tests of training and inference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from yolact_jax.config import Loss, Optimizer
from yolact_jax.models.resnet import BasicBlock, ResNet
from yolact_jax.models.yolact import Yolact
from yolact_jax.ops import anchors as anchor_ops
from yolact_jax.structures import Batch
from yolact_jax.training.optimizer import make_optimizer
from yolact_jax.training.step import create_state, make_train_step

INPUT_SIZE = 64
NUM_CLASSES = 3
SLOTS = 4
LEVELS = anchor_ops.level_sizes(INPUT_SIZE)
MASK_SIZE = 2 * LEVELS[0]


def tiny_model(
    *, axis_name=None, freeze_bn=False, dtype=jnp.float32, remat=False
) -> Yolact:
    """One block per stage and few channels: compiles in seconds."""
    common = {"dtype": dtype}
    backbone = ResNet(
        (1, 1, 1, 1),
        BasicBlock,
        width=8,
        deformable_interval=0,
        axis_name=axis_name,
        remat=remat,
        **common,
    )
    return Yolact(
        backbone,
        NUM_CLASSES,
        anchors_per_cell=3,
        num_prototypes=8,
        features=16,
        freeze_bn=freeze_bn,
        **common,
    )


def random_priority(predictions, key=None) -> jax.Array:
    """Decides at random which masks enter the loss, for `yolact_losses`."""
    key = jax.random.key(0) if key is None else key
    return jax.random.uniform(key, predictions.box_deltas.shape[:2])


def tiny_anchors() -> np.ndarray:
    scales = ((10.0,), (20.0,), (32.0,), (48.0,), (64.0,))
    return anchor_ops.make_anchors(LEVELS, scales, (1.0, 0.5, 2.0), INPUT_SIZE, True)


def tiny_step(
    *,
    axis_name=None,
    freeze_bn=False,
    learning_rate=0.01,
    dtype=jnp.float32,
    remat=False,
    loss_options=None,
    **step_options,
):
    """Returns the initial state and the step function."""
    model = tiny_model(
        axis_name=axis_name, freeze_bn=freeze_bn, dtype=dtype, remat=remat
    )
    step_options = {"accumulate_steps": 1, "average_decay": 0.0} | step_options
    averaged = step_options.get("average_decay", 0) > 0
    state = _initial_state(freeze_bn, averaged)
    step = make_train_step(
        model,
        tiny_anchors(),
        _optimizer(learning_rate, freeze_bn),
        loss_options or Loss(),
        key=jax.random.key(1),
        **step_options,
    )
    # A copy, which the step may be given for good.
    return jax.tree.map(jnp.copy, state), step


def _optimizer(learning_rate, freeze_bn):
    options = Optimizer(warmup_steps=0, decay_steps=())
    return make_optimizer(lambda _: learning_rate, options, freeze_bn=freeze_bn)


@functools.cache
def _initial_state(freeze_bn, averaged):
    # Initialisation runs outside of any mapped axis.
    model, optimizer = tiny_model(freeze_bn=freeze_bn), _optimizer(0.0, freeze_bn)
    make = functools.partial(
        create_state, model, optimizer, INPUT_SIZE, averaged=averaged
    )
    return jax.jit(lambda key: make(key=key))(jax.random.key(0))


def rectangles(counts, *, seed=0) -> Batch:
    """Images of plain rectangles on noise; ``counts`` objects each."""
    rng = np.random.default_rng(seed)
    size = len(counts)
    images = rng.integers(0, 80, (size, INPUT_SIZE, INPUT_SIZE, 3), dtype=np.uint8)
    boxes = np.zeros((size, SLOTS, 4), np.float32)
    labels = np.zeros((size, SLOTS), np.int32)
    masks = np.zeros((size, SLOTS, MASK_SIZE, MASK_SIZE), np.uint8)
    valid = np.arange(SLOTS)[None] < np.asarray(counts)[:, None]
    for image in range(size):
        for slot in range(counts[image]):
            cell = INPUT_SIZE // MASK_SIZE
            x, y = rng.integers(0, MASK_SIZE // 2, 2)
            w, h = rng.integers(MASK_SIZE // 4, MASK_SIZE // 2, 2)
            label = int(rng.integers(NUM_CLASSES))
            boxes[image, slot] = np.array([x, y, x + w, y + h]) / MASK_SIZE
            labels[image, slot] = label
            masks[image, slot, y : y + h, x : x + w] = 1
            rows = slice(y * cell, (y + h) * cell)
            images[image, rows, x * cell : (x + w) * cell, label] = 255
    return Batch(
        images=jnp.asarray(images),
        boxes=jnp.asarray(boxes),
        labels=jnp.asarray(labels),
        masks=jnp.asarray(masks),
        valid=jnp.asarray(valid),
        crowd=jnp.zeros((size, SLOTS), bool),
    )

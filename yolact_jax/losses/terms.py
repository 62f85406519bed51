"""Box, class and semantic loss of one image, as unnormalized sums."""

import jax
import jax.numpy as jnp
import optax

from yolact_jax.ops import matching


def box_loss(
    box_deltas: jax.Array, target_deltas: jax.Array, positive: jax.Array
) -> jax.Array:
    """Smooth L1 loss of the encoded boxes, summed over positive anchors.

    Args:
      box_deltas: [A, 4] float32, predicted.
      target_deltas: [A, 4] float32; may be non-finite where not positive.
      positive: [A] bool.
    """
    error = jnp.where(positive[:, None], box_deltas - target_deltas, 0.0)
    return jnp.sum(optax.huber_loss(error, delta=1.0))


def class_loss(
    class_logits: jax.Array,
    class_target: jax.Array,
    *,
    negative_ratio: int,
    empty_negatives: int = 0,
) -> jax.Array:
    """Softmax cross entropy with hard example mining (OHEM), summed over anchors.

    All positive anchors count, and the ``negative_ratio`` times as many background
    anchors that look least like background.

    Args:
      class_logits: [A, C + 1] float32, channel 0 is the background.
      class_target: [A] int32, as in `Matches.class_target`.
      negative_ratio: negatives per positive.
      empty_negatives: see `hard_negatives`.
    """
    log_probability = jax.nn.log_softmax(class_logits)
    selected = (class_target > 0) | hard_negatives(
        log_probability[:, 0], class_target, negative_ratio, empty_negatives
    )
    channel = jnp.maximum(class_target, 0)
    picked = jnp.take_along_axis(log_probability, channel[:, None], axis=-1)[:, 0]
    return -jnp.sum(jnp.where(selected, picked, 0.0))


def hard_negatives(
    background_log_probability: jax.Array,
    class_target: jax.Array,
    ratio: int,
    empty_negatives: int = 0,
) -> jax.Array:
    """Chooses the background anchors that are most mistaken for objects.

    Args:
      background_log_probability: [A] float32.
      class_target: [A] int32, as in `Matches.class_target`.
      ratio: negatives per positive.
      empty_negatives: negatives where nothing is positive.

    Returns:
      [A] bool.
    """
    is_background = class_target == matching.BACKGROUND
    hardness = jnp.where(is_background, -background_log_probability, 0.0)
    hardness = jax.lax.stop_gradient(hardness)
    num_positive = jnp.sum(class_target > 0)
    wanted = ratio * num_positive
    if empty_negatives:
        wanted = jnp.where(num_positive > 0, wanted, empty_negatives)
    count = jnp.minimum(wanted, class_target.size - 1)
    rank = jnp.argsort(jnp.argsort(-hardness, stable=True))
    return is_background & (rank < count)


def semantic_target(
    masks: jax.Array, labels: jax.Array, is_object: jax.Array, num_classes: int
) -> jax.Array:
    """Unites the object masks of each class into a semantic segmentation.

    Args:
      masks: [G, h, w], 0 or 1, any dtype.
      labels: [G] int32.
      is_object: [G] bool.
      num_classes: C.

    Returns:
      [h, w, C] float32, 0 or 1; the classes may overlap.
    """
    one_hot = jax.nn.one_hot(labels, num_classes) * is_object[:, None]
    count = jnp.einsum("ghw,gc->hwc", masks.astype(jnp.float32), one_hot)
    return (count > 0).astype(jnp.float32)


def semantic_loss(semantic_logits: jax.Array, target: jax.Array) -> jax.Array:
    """Binary cross entropy per class and pixel: mean over pixels, sum over classes.

    `semantic_logits` and `target`, 0 or 1, are [h, w, C] float32.
    """
    loss = optax.sigmoid_binary_cross_entropy(semantic_logits, target)
    return jnp.sum(loss) / (loss.shape[0] * loss.shape[1])

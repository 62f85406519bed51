"""What a training step needs of the memory of a device, according to the compiler."""

import itertools
import logging
import os
from collections.abc import Sequence
from typing import Any, cast

import jax
from jax.sharding import Sharding

from yolact_jax import build
from yolact_jax.config import Config, at_size, training_sizes
from yolact_jax.structures import Batch
from yolact_jax.training import parts
from yolact_jax.training.multihost.mesh import Layout, make_layout

_LOGGER = logging.getLogger(__name__)
_LARGEST_BATCH = 64
"""Beyond it, a rate in proportion to the batch soon diverges."""
_PROBED_IMAGES = 2  # On each device; XLA for GPUs fails at some steps of one.
_USABLE = 0.8  # Of the memory; the rest is for fragments and the libraries.


def largest_batch(config: Config, num_classes: int) -> int:
    """Finds a batch that the memory of all devices holds, a power of two per device.

    Compiles the step for two sizes, whose difference is what an image needs; for two
    more if only batches fit in which "auto" freezes batch normalization.

    Raises:
      ValueError: if several processes train, whose devices may differ.
    """
    if jax.process_count() > 1:
        raise ValueError(
            "config.train.batch_size is 0, which is for one process; it must be "
            "greater with several."
        )
    unit = jax.device_count() * config.train.accumulate_steps
    sizes = [unit << n for n in range(max(_LARGEST_BATCH // unit, 1).bit_length())]
    candidates = [config.replace({"train.batch_size": size}) for size in sizes]
    for freeze_bn, alike in itertools.groupby(reversed(candidates), freeze_bn_of):
        sizes = [candidate.train.batch_size for candidate in alike]
        found = _largest_fitting(
            config.replace({"model.freeze_bn": freeze_bn}), num_classes, sizes, unit
        )
        if found:
            return found
    _LOGGER.warning(
        "Batches of %d, the least, although a step needs more than the %.2f GiB of a "
        "device.",
        unit,
        _USABLE * device_bytes() / 2**30,
    )
    return unit


def _largest_fitting(
    config: Config, num_classes: int, sizes: Sequence[int], unit: int
) -> int | None:
    """Returns the first of the sizes, multiples of `unit`, that the memory holds."""
    layout = make_layout()
    probes = _PROBED_IMAGES * unit, 2 * _PROBED_IMAGES * unit
    small, large = (step_bytes(config, num_classes, size, layout) for size in probes)
    per_unit = max(large - small, 1) / _PROBED_IMAGES
    fixed = small - _PROBED_IMAGES * per_unit
    fitting = (_USABLE * device_bytes() - fixed) / per_unit
    for size in sizes:
        if size // unit <= fitting:
            _LOGGER.info(
                "Batches of %d: a step needs %.2f GiB of the %.2f GiB of a device.",
                size,
                (fixed + size // unit * per_unit) / 2**30,
                device_bytes() / 2**30,
            )
            return size
    return None


def device_bytes() -> int:
    """Memory that a device may use; for CPU devices their share of the machine's."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return machine // jax.local_device_count()


def step_bytes(
    config: Config, num_classes: int, batch_size: int, layout: Layout
) -> int:
    """Compiles the step for a batch size, and returns its memory on a device.

    With `config.train.multi_scale`, that of the largest input.
    """
    config = at_largest_size(config)
    lowered = _lower(config, num_classes, batch_size, layout)
    memory = cast("Any", lowered.compile().memory_analysis())
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )


def _lower(
    config: Config, num_classes: int, batch_size: int, layout: Layout
) -> jax.stages.Lowered:
    """Traces the step for another batch size, with everything else equal.

    The batch size of the config decides what "auto" freezes.
    """
    config = config.replace(
        {"model.freeze_bn": freeze_bn_of(config), "train.batch_size": batch_size}
    )
    step = parts.train_step_fn(config, num_classes)
    state = parts.abstract_state(config, num_classes, layout.replicated)
    batch = abstract_batch(config, batch_size, layout.sharded)
    key = jax.random.key(config.train.seed)
    return parts.compile_lazily(step, layout).lower(state, batch, key=key)


def at_largest_size(config: Config) -> Config:
    """Returns the config whose every step is one of the largest of its inputs."""
    return at_size(config, max(training_sizes(config)))


def abstract_batch(config: Config, batch_size: int, sharding: Sharding | None) -> Batch:
    """Returns the shapes of a batch."""
    slots, (rows, columns) = config.data.max_objects, build.prototype_size(config)
    pixels = "uint8" if config.augment.clip_colors else "int16"
    target = config.data.mask_target

    def array(shape, dtype) -> Any:
        shape = (batch_size, *shape)
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    return Batch(
        images=array((*config.data.frame.size, config.data.channels), pixels),
        boxes=array((slots, 4), "float32"),
        labels=array((slots,), "int32"),
        masks=array(
            (slots, rows, columns), "float16" if target == "coverage" else "uint8"
        ),
        semantic_masks=array((slots, rows // 2, columns // 2), "uint8")
        if target == "original"
        else None,
        valid=array((slots,), "bool"),
        crowd=array((slots,), "bool"),
    )


def freeze_bn_of(config: Config) -> str:
    """Replaces "auto", which may mean something else for another batch size."""
    return "yes" if build.freezes_bn(config) else "no"

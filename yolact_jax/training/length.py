"""How long a run is and how large its batches are, where the config leaves it open."""

import logging
import math
from pathlib import Path
from typing import Any

from yolact_jax.config import Config
from yolact_jax.run.folder import load_run
from yolact_jax.run.variables import has_checkpoint
from yolact_jax.training import memory, parts
from yolact_jax.training.optimizer import BASE_BATCH_SIZE, scale_steps

_LOGGER = logging.getLogger(__name__)
# The default length: a hundred looks at each image of a small set, between what a new
# head needs and what takes a day; at images of a large set at least COCO's dozen.
_EPOCHS, _LEAST_STEPS, _MOST_STEPS, _LEAST_EPOCHS = 100, 2_000, 20_000, 12
_WARMUP_PARTS = 3  # Of the time before the first decay; a warm-up may take one.


def resolve(
    config: Config, num_images: int, num_classes: int, workdir: str | Path
) -> Config:
    """Puts numbers for what a config leaves open, and logs them.

    These are ``train.batch_size`` 0, ``train.num_steps`` 0 and
    ``optimizer.decay_fractions``.  A run that continues keeps its batch size.
    A warm-up may be shortened where ``train.num_steps`` was 0.

    Args:
      config: the whole config.
      num_images: to train on.
      num_classes: foreground classes.
      workdir: folder of the run, which may be new.

    Returns:
      A config of which nothing is open; resolving it again changes nothing.
    """
    config = config.replace(
        {"train.batch_size": _batch_size(config, num_classes, workdir)}
    )
    is_open = not config.train.num_steps
    if is_open:
        config = config.replace(_length(config, num_images))
    fractions = config.optimizer.decay_fractions
    if fractions:
        steps = tuple(round(f * config.train.num_steps) for f in fractions)
        config = config.replace(
            {"optimizer.decay_steps": steps, "optimizer.decay_fractions": ()}
        )
    return _with_timely_warmup(config, may_shorten=is_open)


def check(config: Config) -> None:
    """Refuses a run of no step, and patience that cannot end it.

    Args:
      config: of which nothing is open.

    Raises:
      ValueError: naming the fields, what they are and what is allowed.
    """
    train, num_steps = config.train, parts.scaled_to_batch(config)[1]
    if not num_steps:
        raise ValueError(
            f"config.train.num_steps is {train.num_steps}, for batches of "
            f"{BASE_BATCH_SIZE}, which is no step with config.train.batch_size "
            f"{train.batch_size}; it must be at least "
            f"{math.ceil(train.batch_size / BASE_BATCH_SIZE)}."
        )
    # The first evaluation has nothing to fall behind.
    earliest = (train.patience + 1) * train.eval_every_steps
    if train.patience and earliest >= num_steps:
        raise ValueError(
            f"config.train.patience is {train.patience} with "
            f"config.train.eval_every_steps {train.eval_every_steps}, so that it could "
            f"end the run after {earliest} steps at the earliest; these must be fewer "
            f"than the {num_steps} of the run, or patience 0."
        )


def check_reaches(config: Config, newest_step: int, workdir: str | Path) -> None:
    """Refuses to continue a run that would end before its newest checkpoint.

    Args:
      config: of which nothing is open.
      newest_step: updates of the newest checkpoint of the folder.
      workdir: folder of the run.

    Raises:
      ValueError: naming both numbers of steps.
    """
    train, num_steps = config.train, parts.scaled_to_batch(config)[1]
    if newest_step > num_steps:
        raise ValueError(
            f"The run would end after {num_steps} steps (config.train.num_steps is "
            f"{train.num_steps}, config.train.batch_size {train.batch_size}), but the "
            f"newest checkpoint in {workdir} is of step {newest_step}; the run must "
            f"have at least as many steps, or the workdir be another."
        )


def default_epochs(num_images: int) -> float:
    """Chooses how often each image is seen.

    >>> default_epochs(1000)
    100.0
    """
    per_epoch = num_images / BASE_BATCH_SIZE
    steps = min(max(_EPOCHS * per_epoch, _LEAST_STEPS), _MOST_STEPS)
    return max(steps / per_epoch, _LEAST_EPOCHS)


def _batch_size(config: Config, num_classes: int, workdir: str | Path) -> int:
    if config.train.batch_size:
        return config.train.batch_size
    if has_checkpoint(workdir):
        return load_run(workdir).config.train.batch_size
    return memory.largest_batch(config, num_classes)


def _with_timely_warmup(config: Config, *, may_shorten: bool) -> Config:
    """Shortens a warm-up that takes most of the time before the first decay or the end.

    Who chooses epochs does not think of it; other lengths stay as they are.
    """
    options, num_steps = parts.scaled_to_batch(config)
    decays = options.decay_steps if options.schedule == "steps" else ()
    before, warmup = min((num_steps, *decays)), options.warmup_steps
    if may_shorten and warmup > before // _WARMUP_PARTS:
        shorter = before // _WARMUP_PARTS
        _LOGGER.info("The warm-up has %d steps instead of %d.", shorter, warmup)
        return config.replace({"optimizer.warmup_steps": shorter})
    if warmup >= before:
        _LOGGER.warning(
            "The rate never reaches config.optimizer.learning_rate: the warm-up has %d "
            "steps, and the run decays or ends after %d.",
            warmup,
            before,
        )
    return config


def _length(config: Config, num_images: int) -> dict[str, Any]:
    """Turns epochs into steps, in the unit of ``train.num_steps``."""
    epochs, batch_size = config.train.epochs, config.train.batch_size
    chosen = "" if epochs else ", chosen from their number"
    epochs = epochs or default_epochs(num_images)
    scaled = config.optimizer.scale_with_batch
    unit = BASE_BATCH_SIZE if scaled else batch_size
    # At least one update is left after scaling.
    least = math.ceil(batch_size / unit)
    num_steps = max(math.ceil(num_images * epochs / unit), least)
    updates = scale_steps(num_steps, batch_size) if scaled else num_steps
    _LOGGER.info(
        "%d images, each seen %.4g times%s: %d steps of %d images.",
        num_images,
        epochs,
        chosen,
        updates,
        batch_size,
    )
    return {"train.num_steps": num_steps, "train.epochs": 0.0}

"""Repeats one step of a run: its losses, and what is wrong with state and batch."""

import dataclasses
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax import numpy as jnp

from yolact_jax import build
from yolact_jax.config import at_size, training_sizes
from yolact_jax.run import checkpoint
from yolact_jax.run.changes import SAMPLE_FIELDS, require_unchanged
from yolact_jax.run.folder import load_run
from yolact_jax.training.monitor.bad_batches import load_bad_batch, saved_steps
from yolact_jax.training.multihost.mesh import to_devices
from yolact_jax.training.session import (
    Session,
    make_session,
    with_init_weights,
)
from yolact_jax.training.step import TrainState, values_of

_LOGGER = logging.getLogger(__name__)
_FIELDS = (*SAMPLE_FIELDS, "loss.", "model.", "optimizer.", "train.accumulate_steps")
"""Fields, or sections, that say what a step does to the state."""
_SUSPICIOUS = 1e6
"""No parameter or statistic of a network that trains well comes near this."""


def replay(
    workdir: str | Path, step: int | None = None, *, nearest: bool = False
) -> tuple[dict[str, float], list[str]]:
    """Repeats one step of a run; changes nothing in its folder.

    Args:
      workdir: folder of the run.
      step: the step, counted from 1; if None, the first whose batch was saved.
      nearest: take the state of the nearest checkpoint as it is.

    Returns:
      The metrics of the step as in ``metrics.jsonl``, and a sentence about each thing
      that is not finite or too large in the state before it and in the batch.

    Raises:
      ValueError: if there is no such step or checkpoint.
    """
    step = _first_bad_step(workdir) if step is None else step
    session = make_session(load_run(workdir).config, Path(workdir))
    if not 1 <= step <= session.num_steps:
        raise ValueError(f"`step` is {step}; it must be in 1..{session.num_steps}.")
    state = _state_before(session, step, nearest)
    arrays = _saved_arrays(session, step) or next(_batches(session, step - 1))
    findings = [*_bad_arrays(state), *_bad_images(arrays)]
    # The random choices of a step depend on its number.
    state = dataclasses.replace(state, step=jnp.asarray(step - 1, state.step.dtype))
    state = jax.device_put(state, session.layout.replicated)
    batch = to_devices(arrays, session.layout.sharded)
    _, metrics = session.step_fn(state, batch)
    return values_of(jax.device_get(metrics)), findings


def _first_bad_step(workdir: str | Path) -> int:
    steps = saved_steps(workdir)
    if not steps:
        raise ValueError(f"{workdir} has no bad batch; `step` says what to repeat.")
    return steps[0]


def _saved_arrays(session: Session, step: int) -> dict[str, np.ndarray] | None:
    """Reads the batch of a skipped update; None if it was not saved."""
    train = session.config.train
    saved = load_bad_batch(session.workdir, step, seed=train.seed)
    if saved is None:
        return None
    sized = [at_size(session.config, side) for side in training_sizes(session.config)]
    allowed = [(train.batch_size, *each.data.frame.size) for each in sized]
    images = saved[0].get("images")
    shape = None if images is None else images.shape[:3]
    if shape not in allowed:
        raise ValueError(
            f"The bad batch of step {step} in {session.workdir} has images of shape "
            f"{shape}; number, height and width must be one of {allowed}. Remove the "
            f"file, and the batch of the step is made again."
        )
    return saved[0]


def _state_before(session: Session, step: int, nearest: bool) -> TrainState:
    """Recreates the state that the run had before a step."""
    state = _newest_state(session, step - 1, nearest)
    done = int(state.step)
    fields = _FIELDS
    if session.config.optimizer.schedule == "cosine":
        fields = (*fields, "train.num_steps")
    require_unchanged(session.workdir, step if nearest else done + 1, fields)
    if nearest or done == step - 1:
        return state
    _LOGGER.info("Repeating steps %d to %d.", done + 1, step - 1)
    for arrays in itertools.islice(_batches(session, done), step - 1 - done):
        batch = to_devices(arrays, session.layout.sharded)
        state, _ = session.step_fn(state, batch)
    return state


def _newest_state(session: Session, at_most: int, nearest: bool) -> TrainState:
    with checkpoint.open_for_reading(session.workdir) as manager:
        steps = sorted(manager.all_steps())
        before = [step for step in steps if step <= at_most]
        if before or (nearest and steps):
            chosen = before[-1] if before else steps[0]
            _LOGGER.info("State of checkpoint %d.", chosen)
            like = session.abstract_state()
            return checkpoint.restore(manager, like, chosen)
    if steps and at_most >= 2 * steps[0]:
        _LOGGER.warning(
            "No checkpoint before step %d is kept any more (there are %s): repeating "
            "the run from its start; --nearest takes the state of step %d instead.",
            at_most + 1,
            steps,
            steps[0],
        )
    names = session.dataset.class_names
    return with_init_weights(session.config, session.initial_state(), names)


def _batches(session: Session, start_step: int) -> Iterator[dict]:
    source = session.dataset.source("train")
    with build.make_training_batches(session.config, source, start_step) as batches:
        yield from batches


def _bad_arrays(state: TrainState) -> list[str]:
    """Describes parameters and statistics that are not finite, or close to it."""
    sentences = []
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(state.variables))
    for path, leaf in leaves:
        largest = float(np.abs(leaf).max())  # nan if any is.
        if not largest < _SUSPICIOUS:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            sentences.append(f"{name} reaches {largest:.3g} before the step.")
    return sentences


def _bad_images(arrays: dict[str, np.ndarray]) -> list[str]:
    """Describes images with impossible boxes."""
    sentences = []
    for image_id, boxes, valid in zip(
        arrays["image_ids"], arrays["boxes"], arrays["valid"], strict=True
    ):
        corners = boxes[valid]
        low, high = corners[:, :2], corners[:, 2:]
        if not (np.isfinite(corners).all() and (low >= 0).all() and (high <= 1).all()):
            sentences.append(f"image {image_id} has a box that is not in [0, 1].")
        elif not (high > low).all():
            sentences.append(f"image {image_id} has a box without area.")
    return sentences

"""Shows a training picture as the network sees it in some epoch of a run."""

import dataclasses

import numpy as np

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.augment.sample import Sample
from yolact_jax.data.records.dataset import RecordSource
from yolact_jax.results.draw import image_grid
from yolact_jax.tools.doctor.contact_sheet import draw_sample, pixels_of
from yolact_jax.training.parts import schedule_of

_LEAST_SIDE_PX = 400


@dataclasses.dataclass(frozen=True)
class Seen:
    """One row of a training batch.

    Attributes:
      sample: see `data.augment.sample.training_sample`.
      step: whose batch it is in, from 1; 0 if ``train.batch_size`` is open.
      row: in that batch, from 0.
    """

    sample: Sample
    step: int
    row: int


def seen(config: Config, source: RecordSource, index: int, epoch: int) -> Seen:
    """Makes again what training sees of a picture in an epoch.

    Args:
      config: of the run.
      source: the train split.
      index: of the picture in it, from 0.
      epoch: from 1.

    Raises:
      ValueError: if the picture is not trained on, the run ends before, or what it
        sees depends on a batch size that is open.
    """
    batch_size = config.train.batch_size
    if config.train.multi_scale and not batch_size:
        raise ValueError(
            "config.train.batch_size is 0; it must be that of the run with "
            "config.train.multi_scale, of which each batch draws a size."
        )
    place, sample = build.seen_sample(config, source, index, epoch)
    if not batch_size:
        return Seen(sample, 0, 0)
    found = Seen(sample, place // batch_size + 1, place % batch_size)
    num_steps = schedule_of(config)[1] if config.train.num_steps else found.step
    if found.step > num_steps:
        raise ValueError(
            f"`epoch` is {epoch}, which has the picture in step {found.step}; the run "
            f"has {num_steps} steps."
        )
    return found


def picture_of(sample: Sample, class_names: tuple[str, ...]) -> np.ndarray:
    """Draws a sample twice: its pixels alone, and with boxes, masks and names.

    Small pictures are enlarged, by repeating pixels.

    Returns:
      [h, w, 3] uint8 RGB, the pixels alone on the left.
    """
    pixels = pixels_of(sample)
    times = -(-_LEAST_SIDE_PX // min(pixels.shape[:2]))
    pixels = pixels.repeat(times, axis=0).repeat(times, axis=1)
    drawn = draw_sample({**sample, "images": pixels}, class_names, pixels.shape[:2])
    return image_grid([pixels, drawn], columns=2)

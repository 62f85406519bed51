"""Evaluates a state and leaves the results in the folder of its run."""

import logging
from pathlib import Path

import jax
from ml_collections import ConfigDict

from yolact_jax import build
from yolact_jax.data.dataset import Dataset
from yolact_jax.evaluation import evaluate_predictor, format_table, write_results
from yolact_jax.inference import Predictor
from yolact_jax.training.metrics import append_row
from yolact_jax.training.step import TrainState
from yolact_jax.visualize import draw_instances, image_grid, write_png

_LOGGER = logging.getLogger(__name__)
SAMPLES_FILE = "samples.png"
_SAMPLE_COLUMNS = 4
_SAMPLE_SIDE_PX = 320


def evaluate_and_report(
    config: ConfigDict,
    dataset: Dataset,
    state: TrainState,
    workdir: str | Path,
    *,
    split: str = "validation",
    output: str | Path | None = None,
) -> dict[str, float | None]:
    """Measures box and mask AP; logs, records and illustrates them.

    Args:
      config: the whole config.
      dataset: has the split to evaluate.
      state: the state to evaluate.
      workdir: folder of the run; a row with ``eval/...`` goes to its metrics.
      split: "validation" or "train".
      output: folder for the COCO result files and pictures; `workdir` if None.

    Returns:
      The row of ``metrics.jsonl``: ``step``, and the metrics of
      `evaluation.evaluate_coco` under ``eval/...``.
    """
    output = Path(workdir if output is None else output)
    source = dataset.source(split)
    # A replicated state has a copy on every device; the first one evaluates.
    variables = jax.device_get(state.inference_variables)
    variables = jax.device_put(variables, jax.local_devices()[0])
    predictor = build.make_predictor(config, variables, dataset.class_names)
    metrics, box_results, mask_results = evaluate_predictor(
        predictor,
        source,
        max_images=config.eval.max_images,
        max_detections=config.eval.max_detections,
    )
    write_results(output, box_results, mask_results)
    step = int(state.step)
    # On record under the validation keys only what is comparable over the run.
    prefix = "eval" if split == "validation" else f"eval_{split}"
    named = {f"{prefix}/{name}": value for name, value in metrics.items()}
    row = append_row(workdir, step, named)
    _LOGGER.info("AP at step %d on %s:\n%s", step, split, format_table(metrics))
    if config.eval.sample_images:
        grid = draw_samples(predictor, source, config.eval.sample_images)
        write_png(output / SAMPLES_FILE, grid)
    return row


def draw_samples(predictor: Predictor, source, count: int):
    """Draws the predictions for the first images of a source as one picture.

    Args:
      predictor: the model.
      source: a `RecordSource`.
      count: number of images.

    Returns:
      [h, w, 3] uint8 RGB.
    """
    images = [source[i].image for i in range(min(count, len(source)))]
    pictures = [
        draw_instances(
            image,
            instances,
            predictor.class_names,
            scale=_SAMPLE_SIDE_PX / max(image.shape[:2]),
        )
        for image, instances in zip(images, predictor.stream(images), strict=True)
    ]
    return image_grid(pictures, _SAMPLE_COLUMNS)

"""Evaluates a state, and leaves the results in the folder of its run."""

import logging
from pathlib import Path

import jax

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.records.dataset import (
    Dataset,
    RecordSource,
    coco_ground_truth,
)
from yolact_jax.results.coco_ap import format_table, write_results
from yolact_jax.results.draw import image_grid, write_picture
from yolact_jax.results.predictor import Predictor
from yolact_jax.results.report.numbers import Evaluated
from yolact_jax.results.splits import Detected, detect_images, evaluate_detected
from yolact_jax.run.metrics import append_row
from yolact_jax.training.multihost import exchange, processes
from yolact_jax.training.multihost.mesh import make_layout
from yolact_jax.training.report import Evaluation, report_evaluation
from yolact_jax.training.step import TrainState

_LOGGER = logging.getLogger(__name__)
SAMPLES_FILE = "samples.png"
_SAMPLE_COLUMNS = 4
_SAMPLE_SIDE_PX = 320


def evaluate_and_report(
    config: Config,
    dataset: Dataset,
    model: TrainState | Predictor,
    workdir: str | Path,
    *,
    split: str = "validation",
    output: str | Path | None = None,
    comparable: bool = True,
) -> dict[str, float | None]:
    """Measures box and mask AP; logs, records and draws the result.

    All processes of a run call this: each detects in its share of the images, on all
    of its devices; process 0 collects the detections and does the rest.

    Args:
      config: the whole config.
      dataset: has the split to evaluate.
      model: the state to evaluate, or what an exported file holds, which has no step.
      workdir: folder of the run; a row with ``eval/...`` goes to its metrics.
      split: "validation" or "train".
      output: folder for the COCO result files and pictures; `workdir` if None.
      comparable: whether the config asks for what the run measures in training.

    Returns:
      The row of ``metrics.jsonl``, the same in every process: ``step``, and the metrics
      of `results.coco_ap.evaluate_coco` under ``eval/...``; or ``eval_train/...`` for
      that split; or ``eval_other/...`` or ``eval_train_other/...`` where they
      are not comparable.

    Raises:
      OtherProcessError: if another process has failed.
    """
    output = Path(workdir if output is None else output)
    predictor, source, detected = processes.on_all_processes(
        _detect_share, config, dataset, model, split
    )
    gathered = exchange.gather(vars(detected), workdir)

    def report() -> dict[str, float | None]:
        assert gathered is not None  # In process 0, which alone reports.
        parts = [Detected(**part) for part in gathered]
        truth = coco_ground_truth(source)
        metrics, boxes, masks = evaluate_detected(
            truth,
            parts,
            max_detections=config.eval.max_detections,
            evaluator=config.eval.evaluator,
        )
        write_results(output, boxes, masks)
        step = int(model.step) if isinstance(model, TrainState) else 0
        # On record under the validation keys only what is comparable over the run.
        prefix = "eval" + f"_{split}" * (split != "validation")
        prefix += "_other" * (not comparable)
        named = {f"{prefix}/{name}": value for name, value in metrics.items()}
        row = append_row(workdir, step, named)
        _LOGGER.info("AP at step %d on %s:\n%s", step, split, format_table(metrics))
        if config.eval.sample_images:
            grid = draw_samples(predictor, source, config.eval.sample_images)
            write_picture(output / SAMPLES_FILE, grid)
        evaluated = Evaluated(
            truth,
            {"box": boxes, "mask": masks},
            [i for part in parts for i in part.image_ids],
            config.eval.max_detections,
        )
        evaluation = Evaluation.of(step, split, evaluated, metrics, config)
        evaluation.write(output)
        if config.eval.report:
            variables = None
            if isinstance(model, TrainState):
                variables = jax.device_get(model.inference_variables)
            report_evaluation(
                output,
                evaluation,
                evaluated,
                source,
                config,
                variables,
                workdir=workdir,
            )
        return row

    row = processes.on_first_process(report)
    return exchange.value_of_first_process(row, workdir)


def _detect_share(
    config: Config, dataset: Dataset, model: TrainState | Predictor, split: str
) -> tuple[Predictor, RecordSource, Detected]:
    """Detects in this process's share of the images."""
    source = dataset.source(split)
    if isinstance(model, TrainState):
        model = _predictor_of(config, dataset, model)
    count = min(config.eval.max_images or len(source), len(source))
    share = processes.share_of(count)
    return model, source, detect_images(model, source, share)


def _predictor_of(config: Config, dataset: Dataset, state: TrainState) -> Predictor:
    """Runs a state on all devices of this process."""
    # A replicated state has a copy in every process.
    layout = make_layout(jax.local_devices())
    variables = jax.device_get(state.inference_variables)
    return build.make_predictor(
        config,
        jax.device_put(variables, layout.replicated),
        dataset.class_names,
        sharding=layout.sharded,
    )


def draw_samples(predictor: Predictor, source, count: int):
    """Draws the predictions for the first `count` images, [h, w, 3] uint8 RGB."""
    images = [source[i].values for i in range(min(count, len(source)))]
    pictures = [
        found.draw(scale=_SAMPLE_SIDE_PX / max(found.packed.size))
        for found in predictor.stream(images)
    ]
    return image_grid(pictures, _SAMPLE_COLUMNS)

"""The report of an evaluation, and what is needed to make it again."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.records.dataset import RecordSource
from yolact_jax.files import read_json, write_json
from yolact_jax.results.errors.assembly import ImageParts
from yolact_jax.results.errors.measure import image_parts, measure_masks
from yolact_jax.results.errors.scenes import label_of_category
from yolact_jax.results.report.numbers import Evaluated, plain
from yolact_jax.results.report.write import PAGE_FILE, REPORT_FOLDER, write_report
from yolact_jax.run.folder import versions
from yolact_jax.run.metrics import METRICS_FILE
from yolact_jax.training.monitor.curves import curves_png

EVALUATION_FILE = "evaluation.json"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An evaluation as it is kept in ``evaluation.json``, beside its detections.

    Attributes:
      step: of the run.
      split: "validation" or "train".
      image_ids: of the images that were evaluated.
      metrics: of `evaluate_coco`; None where nan.
      class_names: of the data; empty where an earlier version wrote the file, as are
        the fields below.
      category_ids: of the classes.
      fingerprint: of the split, see `Evaluated`.
      max_detections: see `Evaluated`.
      options: fields of the config such as "eval.nms", which may differ from the run's.
    """

    step: int
    split: str
    image_ids: Sequence[int]
    metrics: Mapping[str, float | None]
    class_names: Sequence[str] = ()
    category_ids: Sequence[int] = ()
    fingerprint: str = ""
    max_detections: int = 0
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        step: int,
        split: str,
        evaluated: Evaluated,
        metrics: Mapping[str, float],
        config: Config,
    ) -> "Evaluation":
        """Describes an evaluation with a config."""
        return cls(
            step,
            split,
            evaluated.image_ids,
            plain(dict(metrics)),
            class_names=list(evaluated.classes.values()),
            category_ids=list(evaluated.classes),
            fingerprint=evaluated.fingerprint,
            max_detections=evaluated.max_detections,
            options={k: v for k, v in config.flat().items() if k.startswith("eval.")},
        )

    def config(self, config: Config) -> Config:
        """Returns the config of the evaluation, from that of its run.

        Raises:
          ValueError: if it has fields that there are not.
        """
        try:
            return config.replace(self.options)
        except ValueError as error:
            raise ValueError(f"{EVALUATION_FILE} is damaged: {error}") from error

    def write(self, folder: Path) -> None:
        """Writes the file."""
        write_json(folder / EVALUATION_FILE, dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Evaluation":
        """Reads the file.

        Raises:
          ValueError: if it is damaged, or there is none.
        """
        path = folder / EVALUATION_FILE
        if not path.is_file():
            raise ValueError(
                f"{folder} has no {EVALUATION_FILE}; run yolact-jax evaluate first."
            )
        content = read_json(path)
        try:
            return cls(**content | {"options": dict(content.get("options", {}))})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}.") from error


def report_evaluation(
    folder: str | Path,
    evaluation: Evaluation,
    evaluated: Evaluated,
    source: RecordSource,
    config: Config,
    variables: dict | None,
    *,
    workdir: str | Path | None = None,
) -> Path:
    """Writes the report of an evaluation into the folder ``report`` of a folder.

    Args:
      folder: of the results.
      evaluation: what was evaluated.
      evaluated: what was found.
      source: of the images.
      config: the whole config.
      variables: of the network, to measure its own errors; None leaves them out.
      workdir: folder of the run, with its metrics, if any.

    Returns:
      The path of the page.
    """
    rows = workdir is not None and (Path(workdir) / METRICS_FILE).exists()
    wanted = set(evaluation.image_ids)
    places = {
        image["id"]: index
        for index, image in enumerate(evaluated.truth["images"])
        if image["id"] in wanted
    }
    own = None
    if variables is not None and config.eval.error_images:
        first = [i for i in places if i in wanted][: config.eval.error_images]
        own = measure_masks(
            _parts(config, variables, evaluated, source, {i: places[i] for i in first}),
            len(evaluated.names),
            max_detections=config.eval.max_detections,
        )
    return write_report(
        Path(folder) / REPORT_FOLDER,
        evaluated,
        {k: np.nan if v is None else v for k, v in evaluation.metrics.items()},
        title=f"Evaluation at step {evaluation.step} on {evaluation.split}",
        facts={"Config": config.flat(), "Versions": versions()},
        read_image=lambda image_id: source[places[image_id]].picture,
        own=own,
        curves_png=curves_png(workdir) if rows and workdir is not None else None,
    )


def has_report(folder: Path, step: int) -> bool:
    """Whether a folder has the report of a step, evaluated on the validation split."""
    if not (folder / REPORT_FOLDER / PAGE_FILE).is_file():
        return False
    try:
        evaluation = Evaluation.read(folder)
    except ValueError:
        return False
    return (evaluation.step, evaluation.split) == (step, "validation")


def _parts(
    config: Config,
    variables: dict,
    evaluated: Evaluated,
    source: RecordSource,
    places: Mapping[int, int],
) -> Iterator[ImageParts]:
    """Runs the network on some images, one after the other."""
    inspector = build.make_inspector(config, variables, len(evaluated.names))
    label_of = label_of_category(evaluated.truth)
    annotations: dict[int, list[dict[str, Any]]] = {i: [] for i in places}
    for annotation in evaluated.truth["annotations"]:
        if annotation["image_id"] in annotations:
            annotations[annotation["image_id"]].append(annotation)
    for image_id, place in places.items():
        found = inspector(source[place].image)
        image = evaluated.truth["images"][place]
        yield image_parts(
            image, annotations[image_id], found, label_of, config.data.frame
        )

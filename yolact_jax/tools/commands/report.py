"""Makes the report of an evaluation again, or compares two runs.

    yolact-jax report --workdir runs/shapes
    yolact-jax report --workdir runs/shapes --compare runs/other

Reads the detections that yolact-jax evaluate left in the folder, and writes report/:
index.html, numbers.json and CSV files.  With --compare, it writes comparison.html and
comparison.csv instead: the AP of each class in both runs, and how sure the difference
is.
"""

import logging
from pathlib import Path
from typing import Any

from absl import flags

from yolact_jax import build
from yolact_jax.cli import Command
from yolact_jax.data.records.dataset import RecordSource, coco_ground_truth
from yolact_jax.results.coco_entries import read_results
from yolact_jax.results.report.compare import write_comparison
from yolact_jax.results.report.numbers import KINDS, Evaluated
from yolact_jax.results.report.write import REPORT_FOLDER
from yolact_jax.run.folder import Run, load_run
from yolact_jax.run.variables import choose_step, load_variables
from yolact_jax.tools.commands.caches import keep_compiled_programs
from yolact_jax.training.report import Evaluation, report_evaluation

_LOGGER = logging.getLogger(__name__)


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=values)
    flags.DEFINE_string(
        "compare", None, "Folder of another run on the same data.", flag_values=values
    )


def run(values: Any) -> None:
    """Writes the report or the comparison, and prints where."""
    if values.workdir is None:
        raise ValueError("--workdir is missing: the folder of a run.")
    run = load_run(values.workdir)
    folder = Path(values.workdir)
    evaluation = Evaluation.read(folder)
    config = evaluation.config(run.config)
    source = _source(run, evaluation)
    truth = coco_ground_truth(source)
    data = f"the {evaluation.split} data of {folder}"
    evaluated = _evaluated(folder, run, evaluation, truth, data)
    if values.compare is None:
        keep_compiled_programs()
        page = report_evaluation(
            folder,
            evaluation,
            evaluated,
            source,
            config.replace({"eval.max_detections": evaluated.max_detections}),
            _variables(folder, evaluation.step),
            workdir=folder,
        )
    else:
        other = Path(values.compare)
        found = Evaluation.read(other)
        if found.split != evaluation.split:
            raise ValueError(
                f"{other} was evaluated on the split {found.split}, and {folder} on "
                f"{evaluation.split}; evaluate both on the same."
            )
        second = _evaluated(other, load_run(other), found, truth, data)
        names = (str(folder), str(other))
        page = write_comparison(folder / REPORT_FOLDER, (evaluated, second), names)
    print(page)


def _source(run: Run, evaluation: Evaluation) -> RecordSource:
    dataset = build.make_dataset(run.config, splits=(evaluation.split,))
    return dataset.source(evaluation.split)


def _evaluated(
    folder: Path, run: Run, evaluation: Evaluation, truth: dict, data: str
) -> Evaluated:
    """What a folder says of a ground truth, which has a name.

    Raises:
      ValueError: if the evaluation was on other data.
    """
    evaluated = Evaluated(
        truth,
        read_results(folder),
        evaluation.image_ids,
        evaluation.max_detections or run.config.eval.max_detections,
    )
    difference = _difference(evaluated, evaluation, run)
    if difference:
        raise ValueError(
            f"{folder} was not evaluated on {data}, as they are now: {difference}; "
            f"evaluate again on these data."
        )
    return evaluated


def _difference(evaluated: Evaluated, evaluation: Evaluation, run: Run) -> str:
    """The first difference between the data and those of an evaluation, if any."""
    names = evaluation.class_names or run.class_names
    ids = evaluation.category_ids or run.category_ids
    before, now = dict(zip(ids, names, strict=False)), evaluated.classes
    for i in sorted(before.keys() | now.keys()):
        if before.get(i) != now.get(i):
            return f"category id {i} was {before.get(i)!r} and is {now.get(i)!r}"
    images = {image["id"] for image in evaluated.truth["images"]}
    found = (e["category_id"] for kind in KINDS for e in evaluated.results[kind])
    for what, wanted, known in (
        ("image", evaluation.image_ids, images),
        ("category id", found, now),
    ):
        missing = next((i for i in wanted if i not in known), None)
        if missing is not None:
            return f"they have no {what} {missing}"
    # Earlier versions wrote none.
    if evaluation.fingerprint not in ("", evaluated.fingerprint):
        return (
            f"the fingerprint of the annotations was {evaluation.fingerprint} and is "
            f"{evaluated.fingerprint}"
        )
    return ""


def _variables(folder: Path, step: int) -> dict | None:
    """The weights that were evaluated, or None if their checkpoint is gone."""
    try:
        return load_variables(folder, choose_step(folder, step))
    except ValueError as error:
        _LOGGER.warning("%s The report leaves out what needs the network.", error)
        return None


COMMAND = Command("report", __doc__, define_flags, run)

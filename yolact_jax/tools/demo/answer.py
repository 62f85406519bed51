"""What the page of ``yolact-jax demo`` answers to a file."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from yolact_jax.cli import FORESEEN, in_words
from yolact_jax.files import read_json
from yolact_jax.inference.options import PredictOptions
from yolact_jax.results.files import predict_files
from yolact_jax.results.folder import DETECTIONS_FILE
from yolact_jax.results.predictor import Predictor


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is shown.

    Attributes:
      sentence: what was found, or what is wrong.
      picture: the picture with its masks, or None.
      clip: the video with its masks, or None.
      detections: the json of what was found, or None.
    """

    sentence: str
    picture: Path | None = None
    clip: Path | None = None
    detections: Path | None = None


def answer(
    predictor: Predictor,
    file: str | Path | None,
    folder: Path,
    *,
    score_threshold: float,
    category_ids: Sequence[int] = (),
) -> Answer:
    """Finds the objects in a picture or a clip.

    Args:
      predictor: the model.
      file: the picture or the clip; None if there is none yet.
      folder: an empty folder for what is written, as by ``yolact-jax predict``.
      score_threshold: least score of an object, in [0, 1].
      category_ids: of the classes to find; none finds all.

    Returns:
      What is found; or why nothing is, in a sentence.  Of a clip that cannot be read
      to its end, both.
    """
    if file is None:
        return Answer("Choose a picture or a clip first.")
    source, options = Path(file), PredictOptions(score_threshold, category_ids or None)
    try:
        problems = predict_files(predictor, source, folder, options=options)
    except FORESEEN as error:
        problems = [in_words(error)]
    # Whoever looks at the page knows the file by its name.
    problem = " ".join(problems).replace(str(source), source.name)
    picture, clip = (next(folder.glob(f"*{s}"), None) for s in (".png", ".mp4"))
    if picture is None and clip is None:
        return Answer(problem)
    detections = folder / DETECTIONS_FILE
    sentence = f"{source.name}: {_counted(detections)}"
    return Answer(f"{sentence} {problem}".rstrip(), picture, clip, detections)


def _counted(detections: Path) -> str:
    """Says how many objects of each class there are, the most frequent first."""
    content = read_json(detections)
    names = {category["id"]: category["name"] for category in content["categories"]}
    counts = collections.Counter(
        names[a["category_id"]] for a in content["annotations"]
    )
    total, frames = counts.total(), len(content["images"])
    if not total:
        return "no object."
    classes = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    where = f" in {frames} frames" if frames > 1 else ""
    return f"{total} object{'s' * (total > 1)}{where}: {classes}."

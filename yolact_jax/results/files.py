"""Predictions for files: pictures and videos with masks drawn in, and one json."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from yolact_jax.data.images import MAX_PIXELS, read_values
from yolact_jax.data.inputs import Source, find_inputs
from yolact_jax.data.video import VideoError, import_av
from yolact_jax.inference.options import PredictOptions
from yolact_jax.results.draw import write_picture
from yolact_jax.results.folder import Results, earlier_pictures, results_folder
from yolact_jax.results.instances import Instances
from yolact_jax.results.names import label_names, video_keys
from yolact_jax.results.predictor import Predictor
from yolact_jax.results.takeaway import TakeAway
from yolact_jax.results.video.clip import predict_video
from yolact_jax.results.video.screen import open_screen

_LOGGER = logging.getLogger(__name__)
_MOST_NAMES = 5  # in a message
_MIN_PICTURE_SIDE_PX = 480


def predict_files(
    predictor: Predictor,
    source: Source | Sequence[Source],
    output: str | Path,
    *,
    options: PredictOptions | None = None,
    take_away: TakeAway | None = None,
    recursive: bool = False,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    with_tracks: bool = False,
    show: bool = False,
) -> list[str]:
    """Finds objects in images and videos.

    Args:
      predictor: the model.
      source: one or more sources as for `find_inputs`.
      output: folder for the pictures, videos and ``detections.json``; created if
        missing.
      options: which objects to find, and how.
      take_away: the form of what is written.
      recursive: whether to look into the folders of a folder.
      overwrite: replace the results of earlier calls in `output`, never other files;
        see `results_folder`.
      max_pixels: images that state more pixels are skipped.
      with_tracks: whether to follow the objects of videos from frame to frame.
      show: whether to show the pictures in a window, which can end a video.

    Returns:
      One sentence for every image that could not be read and was skipped, and every
      video that could not be read to its end.

    Raises:
      ValueError: if there is no image or video, `output` has results or another file
        that would be replaced, it cannot be written, a package is missing, or an
        option is out of range; before anything is written.
    """
    take_away = take_away or TakeAway()
    take_away.check_folders(Path(output), overwrite=overwrite)
    found = find_inputs(
        source,
        recursive=recursive,
        outside=[output, *take_away.folders.values()],
        written=earlier_pictures(output, overwrite) | {*take_away.earlier_files()},
    )
    if found.skipped:
        _LOGGER.info("%s", _said(found.skipped, recursive))
    if with_tracks and not found.videos:
        raise ValueError("`track` is for videos, and the source has none.")
    if take_away.folders and found.videos:
        raise ValueError(
            f"`{next(iter(take_away.folders))}` is for images, and the source has the "
            f"video {found.videos[0]}."
        )
    keys = video_keys(found)
    if found.videos:
        import_av()
    categories = [
        {"id": int(i), "name": name}
        for i, name in zip(predictor.category_ids, predictor.class_names, strict=True)
    ]
    options = options or PredictOptions()
    predictor.stream([], **vars(options))  # For its checks.
    folder = results_folder(
        output,
        found.images,
        categories,
        videos=list(keys),
        names=found.names,
        overwrite=overwrite,
    )
    opened = open_screen() if show else contextlib.nullcontext()
    others = take_away.open_folders()
    with opened as screen, folder as results, others as write_others:
        work = _Work(predictor, results, screen, options, take_away, write_others)
        work.predict_images(
            {path: found.names[path] for path in found.images}, max_pixels
        )
        for key, video in keys.items():
            work.predict_video(video, key, with_tracks)
    return work.problems


class _Work:
    """What is done with each image and video, and what goes wrong."""

    def __init__(
        self, predictor: Predictor, results: Results, screen, options, take_away, others
    ):
        self._predictor, self._results = predictor, results
        self._screen, self._options = screen, vars(options)
        self._take_away, self._write_others = take_away, others
        self.problems: list[str] = []

    def predict_images(self, names: Mapping[Path, str], max_pixels: int) -> None:
        """Draws and lists what is found in image files, which have names."""
        read: list[Path] = []
        labels = label_names(names)

        def images() -> Iterator[np.ndarray]:
            for path in names:
                try:
                    pixels = self._predictor.pixels
                    image = read_values(path, max_pixels=max_pixels, pixels=pixels)
                except (ValueError, MemoryError) as error:
                    self._report(str(error) or f"{path}: too little memory.")
                    continue
                read.append(path)
                yield image

        for found in self._predictor.stream(images(), **self._options):
            instances, path = self._take_away.refined(found), read.pop(0)
            picture, place = _draw(instances), self._results.pictures[path]
            write_picture(place, picture)
            self._write_others(path, place.stem, labels[path], instances)
            annotations = self._take_away.annotations(instances)
            self._results.add(path, instances.packed.size, annotations)
            _LOGGER.info("%s: %d objects", path, len(instances))
            if self._screen:
                self._screen.show(picture)

    def predict_video(self, video, key: Path, with_tracks: bool) -> None:
        """Draws and lists what is found in a video, as far as it can be read."""
        try:
            predict_video(
                self._predictor,
                video,
                key,
                self._results,
                take_away=self._take_away,
                with_tracks=with_tracks,
                screen=self._screen,
                **self._options,
            )
        except VideoError as error:
            kept = self._results.pictures[key].exists()
            self._report(f"{error}{' What was found until then is kept.' * kept}")

    def _report(self, problem: str) -> None:
        _LOGGER.error("%s", problem)
        self.problems.append(problem)


def _said(skipped: Sequence[Path], recursive: bool) -> str:
    """Says what lies in the source and is not used."""
    names = ", ".join(path.name for path in skipped[:_MOST_NAMES])
    more = len(skipped) - _MOST_NAMES
    some_folder = not recursive and any(path.is_dir() for path in skipped)
    return (
        f"not used, as they are no images or videos, or earlier results: {names}"
        f"{f' and {more} more' * (more > 0)}"
        f"{' (folders are read with recursive)' * some_folder}"
    )


def _draw(instances: Instances) -> np.ndarray:
    longest = max(instances.packed.size)
    return instances.draw(scale=max(1.0, _MIN_PICTURE_SIDE_PX / longest))

"""Masks in PNG, TIFF and BMP files, whose numbers or colors are the objects."""

import collections
from pathlib import Path

from yolact_jax.data import headers
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.importers import content, files, masks, objects

_FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}


def from_png(
    masks_dir: Path,
    images_dir: Path,
    class_name: str = "object",
    *,
    void: int | None = None,
    skip_bad: bool = False,
) -> content.Imported:
    """Reads masks whose pixel values number the objects; 0 is background.

    Args:
      masks_dir: one file per image, named like it; or a folder of such files for each
        class, named after the class.  A folder that the images have too is no class.
      images_dir: the images; those without a mask have no objects.
      class_name: the class of files that are in no folder of a class.
      void: the number of pixels that belong to no object, besides 0.
      skip_bad: leave out files that cannot be used instead of raising.

    Raises:
      DatasetError: with every problem found.
    """
    if masks_dir.resolve() == images_dir.resolve():
        raise DatasetError(f"{masks_dir}: masks and images need folders of their own.")
    found = files.list_labels(masks_dir, _FORMATS, [images_dir], ())
    labels = _by_class(found, images_dir, class_name)
    objects.require_names(list(labels), masks_dir)

    def read(name: str, file: Path, photo: objects.Photo) -> objects.Labels:
        return _read(name, file, photo, void)

    return content.import_labels(
        images_dir, labels, read, leave_out=[masks_dir], skip_bad=skip_bad
    )


def _by_class(
    found: files.Folder, images_dir: Path, class_name: str
) -> dict[str, files.Folder]:
    """Sorts masks by class, their names without the folder of the class."""
    labels = collections.defaultdict(files.Folder)
    labels[class_name].problems += found.problems
    for name, path in found.paths.items():
        top, _, rest = name.partition("/")
        is_class = rest and not (images_dir / top).is_dir()
        labels[top if is_class else class_name].paths[rest if is_class else name] = path
    return labels


def _read(
    name: str, file: Path, photo: objects.Photo, void: int | None
) -> objects.Labels:
    """Reads one file."""
    formats = (_FORMATS[file.suffix.lower()],)
    data = headers.read_file(file)
    try:
        numbers = masks.decode(data, formats, photo.size_like)
        numbers = numbers if void is None else numbers * (numbers != void)
        found = [(name, mask) for mask in masks.run_lengths(numbers)]
    except ValueError as error:
        raise DatasetError(f"{file}: {error}.") from error
    return objects.Labels(numbers.shape, found, [])

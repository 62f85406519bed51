"""Records of Pascal SBD, the semantic boundaries dataset with its instances.

Hariharan et al., "Semantic Contours from Inverse Detectors", ICCV 2011.
"""

import dataclasses
import functools
import itertools
import os
import pathlib
import tarfile
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from yolact_jax.data import headers, images
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records import prepare
from yolact_jax.data.records import record as record_lib
from yolact_jax.data.records.builder import RecordsBuilder, RecordsConfig
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.data.sources import sbd_files

_LABELS = {
    category_id: label for label, category_id in enumerate(sbd_files.CATEGORY_IDS)
}
_ARCHIVE_URL = (
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
    "semantic_contours/benchmark.tgz"
)


@dataclasses.dataclass(eq=False, kw_only=True)
class SbdConfig(RecordsConfig):
    """Where the images are; the classes are always the same.

    Attributes:
      class_names: names of the labels.
      category_ids: ids of the labels.
      folder: with `img`, `inst` and the lists of names; None to download it.
    """

    class_names: tuple[str, ...] = sbd_files.CLASS_NAMES
    category_ids: tuple[int, ...] = sbd_files.CATEGORY_IDS
    folder: pathlib.Path | None = None


class YolactSbd(RecordsBuilder):
    """Pascal SBD with its official split.

    Image ids count from 1 over train, then validation, and so do annotation ids.
    """

    name = "yolact_sbd"
    BUILDER_CONFIGS = [SbdConfig(name="2012", description="the whole set")]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Optional: the official benchmark.tgz, or the folder benchmark_RELEASE that it"
        " unpacks to.  Without either, the archive is downloaded."
    )

    def _split_makers(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable]]:
        """Split name -> one function per record."""
        sbd_files.require_matlab_reader()
        self._annotation_ids = itertools.count(1)
        root = self.builder_config.folder or _given(dl_manager)
        if root is None:
            root = _downloaded(dl_manager)
            # Nobody can repair the official archive: what is bad is left out.
            self.skip_bad = True
        image_ids = itertools.count(1)
        return {
            split: [
                functools.partial(_record, root, name, next(image_ids))
                for name in names
            ]
            for split, names in sbd_files.names(root).items()
        }

    def _finish(self, record: dict[str, Any]) -> dict[str, Any]:
        """Numbers the annotations, which start from 0 in each image."""
        count = len(record["annotation_id"])
        ids = np.fromiter(itertools.islice(self._annotation_ids, count), np.int64)
        return {**record, "annotation_id": ids}


def _given(dl_manager: tfds.download.DownloadManager) -> pathlib.Path | None:
    """Finds the unpacked set in files that the user already has."""
    try:
        return sbd_files.find_root(pathlib.Path(dl_manager.manual_dir))
    except (AssertionError, DatasetError):  # TFDS asserts that the folder is there.
        return None


def _downloaded(dl_manager: tfds.download.DownloadManager) -> pathlib.Path:
    """Downloads and unpacks the official archive."""
    archive = pathlib.Path(dl_manager.download(_ARCHIVE_URL))
    folder = _extracted(archive, pathlib.Path(dl_manager.download_dir))
    return sbd_files.find_root(folder)


def _extracted(archive: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Unpacks an archive once, completely or not at all, without TensorFlow."""
    target = folder / f"{archive.name}.extracted"
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            unfinished = pathlib.Path(temporary) / "content"
            with tarfile.open(archive) as tar:
                tar.extractall(unfinished, filter="data")
            unfinished.rename(target)
    return target


def prepare_sbd(
    *,
    data_dir: str | os.PathLike,
    folder: str | os.PathLike | None = None,
    skip_bad: bool = False,
) -> Dataset:
    """Writes the records of Pascal SBD, unless they exist.

    Args:
      data_dir: folder of all prepared datasets, created if missing.
      folder: the unpacked official archive; None to download it to `downloads` in
        `data_dir`, unless there are records.
      skip_bad: leave out bad images instead of raising.

    Raises:
      DatasetError: with every problem found; nothing is written then.
    """
    if folder is None:
        sbd_files.require_matlab_reader()
        return prepare.prepare_downloaded(YolactSbd, ("2012",), data_dir)
    root = sbd_files.find_root(pathlib.Path(folder).expanduser().absolute())
    lists = [(root / file).read_text() for file in sbd_files.LISTS.values()]
    data_dir = pathlib.Path(data_dir).expanduser().absolute()
    fingerprint = prepare.fingerprint_of(["sbd", *lists])
    names = [name for text in lists for name in text.split()]
    files = prepare.file_states(
        root, (file for n in names for file in (f"img/{n}.jpg", f"inst/{n}.mat"))
    )
    key = prepare.fingerprint_of([fingerprint, f"skip_bad={skip_bad}", *files])
    found = prepare.find_prepared(YolactSbd, key, data_dir)
    if found:
        return found
    config = SbdConfig(
        name=key,
        version=str(YolactSbd.VERSION),
        fingerprint=fingerprint,
        skip_bad=skip_bad,
        folder=root,
    )
    return prepare.prepare(YolactSbd, config, data_dir)


def _record(root: pathlib.Path, name: str, image_id: int) -> dict[str, Any]:
    """Makes the record of an image, its annotations numbered from 0."""
    instances, category_ids = sbd_files.read_instances(root / "inst" / f"{name}.mat")
    path = root / "img" / f"{name}.jpg"
    data = headers.read_file(path)
    header = headers.read_header(data, name=str(path))
    # The masks of SBD are about pixels as stored.
    headers.annotated_orientation(header, instances.shape, False, name=str(path))
    images.decode_image(data, name=str(path), orientation=1)
    entry = {
        "id": image_id,
        "file_name": path.name,
        "height": instances.shape[0],
        "width": instances.shape[1],
    }
    annotations = [
        {"id": i, **sbd_files.annotation(instances == i + 1, category_id)}
        for i, category_id in enumerate(category_ids)
    ]
    return record_lib.encode_record(entry, annotations, data, _LABELS)

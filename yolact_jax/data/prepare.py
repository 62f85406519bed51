"""Writing records once with a TFDS builder, and finding them the next time."""

import contextlib
import dataclasses
import hashlib
import io
import itertools
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from yolact_jax.data import records
from yolact_jax.data.dataset import Dataset, open_dataset
from yolact_jax.data.errors import DatasetError

_SECONDS_BETWEEN_REPORTS = 10.0
_T = TypeVar("_T")


@dataclasses.dataclass(eq=False, kw_only=True)
class RecordsConfig(tfds.core.BuilderConfig):
    """What a builder needs to know; its `name` is the fingerprint of the content.

    Attributes:
      class_names: names of the labels.
      category_ids: ids of the labels.
      skipped: sentences about what was left out.
      skip_bad: leave out images that cannot be used, instead of raising.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    skipped: tuple[str, ...] = ()
    skip_bad: bool = False


class RecordsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base of the builders: subclasses say which splits there are, and yield records.

    A subclass defines `_split_records()`: split name -> iterator of records.
    """

    VERSION = tfds.core.Version("1.0.0")
    # TFDS looks for download checksums beside the code, with a package that it does
    # not install; there is nothing to download.
    code_path = None

    def __init__(self, **kwargs):
        """Takes TFDS's arguments."""
        self.bad_images: list[str] = []
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        metadata = tfds.core.MetadataDict(
            class_names=list(config.class_names),
            category_ids=list(config.category_ids),
            fingerprint=config.name,
            skipped=list(config.skipped),
            num_objects={},
        )
        return tfds.core.DatasetInfo(
            builder=self,
            features=records.features(),
            metadata=metadata,
            disable_shuffling=True,  # Records stay in the order of the json file.
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        del dl_manager  # Nothing is downloaded.
        return {
            split: self._generate_examples(split, iterator)
            for split, iterator in self._split_records().items()
        }

    def _generate_examples(
        self, split: str, split_records: Iterator[dict[str, Any]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        num_objects = self.info.metadata["num_objects"].setdefault(split, [])
        for index, record in enumerate(reported(split_records, f"{split} images")):
            num_objects.append(_count_objects(record))
            yield index, record
        if self.bad_images:
            self.info.metadata["skipped"] = [
                *self.builder_config.skipped,
                *self.bad_images,
            ]

    def usable_splits(
        self, makers: dict[str, Sequence[Callable[[], dict[str, Any]]]]
    ) -> dict[str, Iterator[dict[str, Any]]]:
        """Makes records of usable images; the last split names the bad ones of all.

        Args:
          makers: split name -> one function per record, which raise DatasetError.

        Returns:
          Split name -> its records.  They raise DatasetError when images are bad, and
          `skip_bad` is off or none is left.
        """
        splits = list(makers)
        return {
            split: self._usable(
                makers[split], [makers[after] for after in splits[place + 1 :]]
            )
            for place, split in enumerate(splits)
        }

    def _usable(
        self, makers: Sequence[Callable], following: list[Sequence]
    ) -> Iterator:
        """Yields the records of a split that has others following it."""
        num_good = 0
        for make in makers:
            record = self._try(make)
            if record is not None:
                num_good += 1
                yield record
        if not num_good:  # It ends here, so look for what is bad in the others now.
            for make in itertools.chain(*following):
                self._try(make)
        is_refused = not following and not self.builder_config.skip_bad
        if self.bad_images and (is_refused or not num_good):
            raise DatasetError(self.bad_images)

    def _try(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Makes a record; None, after noting why, if the image is bad."""
        try:
            return make()
        except DatasetError as error:
            self.bad_images += error.problems
            return None


def _count_objects(record: dict[str, Any]) -> int:
    """Annotations that are no crowds and whose box has area inside the image."""
    low, extent = np.split(record["bbox_xywh_px"], 2, axis=1)
    image_size = np.array([record["width"], record["height"]])
    inside = np.minimum(low + extent, image_size) - np.maximum(low, 0)
    return int(((inside > 0).all(axis=1) & (record["is_crowd"] == 0)).sum())


def prepare(
    builder_class: type[RecordsBuilder], config: RecordsConfig, data_dir: pathlib.Path
) -> Dataset:
    """Writes the records; a failure leaves nothing behind.

    Args:
      builder_class: of the records.
      config: names the content.
      data_dir: folder of all prepared datasets.

    Returns:
      The dataset.

    Raises:
      DatasetError: images are damaged.
    """
    tfds.disable_progress_bar()
    # TFDS talks about downloads and custom configurations, which helps nobody here.
    with _quiet(), tempfile.TemporaryDirectory() as downloads:
        builder = builder_class(
            data_dir=data_dir, file_format="array_record", config=config
        )
        directory = pathlib.Path(builder.data_dir)
        try:
            builder.download_and_prepare(download_dir=downloads)
        except BaseException as error:
            _remove_if_empty(directory.parent)
            _remove_if_empty(directory.parent.parent)
            # Another process may have been faster: its records are as good.
            if not (isinstance(error, OSError) and _is_prepared(directory)):
                raise
    return open_dataset(directory)


def find_prepared(
    builder_class: type[RecordsBuilder], fingerprint: str, data_dir: pathlib.Path
) -> Dataset | None:
    """Opens the records of earlier, if there are any.

    Args:
      builder_class: that would write them.
      fingerprint: of the content.
      data_dir: folder of all prepared datasets.
    """
    version = str(builder_class.VERSION)
    directory = data_dir / builder_class.name / fingerprint / version
    return open_dataset(directory) if _is_prepared(directory) else None


def _is_prepared(directory: pathlib.Path) -> bool:
    """Whether a folder has all its records; TFDS puts it in place as a whole."""
    return (directory / "dataset_info.json").is_file()


def fingerprint_of(parts: Iterable[bytes | str]) -> str:
    """Hashes the content of a dataset to 16 hexadecimal digits.

    Args:
      parts: whatever changes when the dataset does.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def reported(items: Iterable[_T], what: str) -> Iterator[_T]:
    """Passes items on, saying every ten seconds on stderr how many there were.

    Args:
      items: whatever takes long to make.
      what: their plural.
    """
    last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last > _SECONDS_BETWEEN_REPORTS:
            print(f"prepared {done} {what}", file=sys.stderr, flush=True)
            last = now
        yield item


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences TFDS's prints and warnings."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def _remove_if_empty(directory: pathlib.Path) -> None:
    """Removes a folder that holds nothing."""
    with contextlib.suppress(OSError):
        directory.rmdir()

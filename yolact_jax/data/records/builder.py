"""The TFDS builder that all datasets of this package derive from."""

import collections
import contextlib
import dataclasses
import errno
import functools
import itertools
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import tensorflow_datasets as tfds

from yolact_jax.data.consistency import Tally
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records import leftovers
from yolact_jax.data.records import record as record_lib
from yolact_jax.data.records.ordered_map import ordered_map

_SECONDS_BETWEEN_REPORTS = 10.0
_RECORDS_AHEAD = 64
_RECORDS_PER_SHARD = 1024  # About 200 MB of COCO; TFDS holds as much in memory.
_T = TypeVar("_T")
_Record = dict[str, Any]


@dataclasses.dataclass(eq=False, kw_only=True)
class RecordsConfig(tfds.core.BuilderConfig):
    """What a builder needs; its `name` is the folder of the records.

    Attributes:
      class_names: names of the labels; empty if they are read from the files.
      category_ids: ids of the labels.
      fingerprint: of the annotations alone; by default `name`.
      skipped: sentences about what was left out before images were read.
      skip_bad: leave out images that cannot be used, instead of raising.
      num_threads: threads that read images; None for one per core.
    """

    class_names: tuple[str, ...] = ()
    category_ids: tuple[int, ...] = ()
    fingerprint: str = ""
    skipped: tuple[str, ...] = ()
    skip_bad: bool = False
    num_threads: int | None = None


@contextlib.contextmanager
def _system_errors(folder: os.PathLike) -> Iterator[None]:
    """Gives failures of the system their type; the writer of records has only words."""
    try:
        yield
    except RuntimeError as error:
        words = {os.strerror(code): code for code in errno.errorcode}
        found = [text for text in words if text in str(error)]
        if not found:
            raise
        text = max(found, key=len)
        raise OSError(words[text], text, str(folder)) from error


class RecordsBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Base of the builders, which write array_record files without TensorFlow.

    TFDS's own base, GeneratorBasedBuilder, holds a split in memory, and from 1 GB on
    needs TensorFlow.  A subclass defines `_split_makers`, and `_finish` if records
    depend on earlier ones.
    """

    VERSION = tfds.core.Version("1.1.0")
    builder_config: Any  # Of the subclass of `RecordsConfig` that a builder has.
    # TFDS finds the checksums of downloads next to this file; by default it would
    # look for them with a package that it does not install.
    code_path: Any = pathlib.Path(__file__)

    def __init__(self, *, file_format: str = "array_record", **kwargs):
        """Takes TFDS's arguments; its own default format would need TensorFlow."""
        super().__init__(file_format=file_format, **kwargs)
        self.skip_bad = self.builder_config.skip_bad
        self._bad_images: list[str] = []
        self._num_orientations_guessed = 0

    def download_and_prepare(self, **kwargs) -> None:
        """Writes the records, unless they are there; takes TFDS's arguments.

        A run that was killed leaves an unfinished folder, which this removes first.

        Raises:
          DatasetError: if images are damaged.
          OSError: if the disk is full, or another operation of the system fails.
        """
        with leftovers.removed(self.data_path.parent), _system_errors(self.data_path):
            super().download_and_prepare(**kwargs)
        print_warnings(self._written, self.data_path)

    def _split_makers(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[Callable[[], _Record]]]:
        """Split name -> one function per record.

        They run in threads, and raise DatasetError for images that cannot be used.
        """
        raise NotImplementedError

    def _finish(self, record: _Record) -> _Record:
        """Completes a record; unlike the makers, this is called in order."""
        return record

    @property
    def _written(self) -> dict[str, Any]:
        """The metadata that are stored with the records."""
        return cast("dict[str, Any]", self.info.metadata)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        metadata = tfds.core.MetadataDict(
            class_names=list(config.class_names),
            category_ids=list(config.category_ids),
            fingerprint=config.fingerprint or config.name,
            skipped=list(config.skipped),
            num_objects={},
            warnings=[],
        )
        return tfds.core.DatasetInfo(
            builder=self,
            features=record_lib.features(),
            metadata=metadata,
            disable_shuffling=True,  # Records stay in the order of the json file.
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable[[], Iterator]]]:
        self._bad_images = []
        self._num_orientations_guessed = 0
        skipped = list(self.builder_config.skipped)
        self._written.update(skipped=skipped, num_objects={}, warnings=[])
        self._tallies = collections.defaultdict(Tally)
        makers = self._split_makers(dl_manager)
        shards = {split: self._shards(split, makers[split]) for split in makers}
        final = shards[list(shards)[-1]]
        final[-1] = functools.partial(self._final_shard, final[-1])
        return shards

    def _shards(self, split: str, makers: Sequence[Callable]) -> list[Callable]:
        """One function per file of a split, which yields its records in turn."""
        made = self._made(f"{split} images", makers)
        shard = functools.partial(self._shard, split, made)
        return [shard] * max(-(-len(makers) // _RECORDS_PER_SHARD), 1)

    def _shard(
        self, split: str, made: Iterator[_Record | None]
    ) -> Iterator[tuple[int, _Record]]:
        """Takes the records of a file from all of its split."""
        num_objects = self._written["num_objects"].setdefault(split, [])
        for record in itertools.islice(made, _RECORDS_PER_SHARD):
            if record is not None:
                num_objects.append(_count_objects(record))
                self._num_orientations_guessed += not record["orientation_told"]
                self._tallies[split].add(record_lib.annotations_of(record))
                yield len(num_objects), record

    def _final_shard(self, shard: Callable[[], Iterator]) -> Iterator:
        """Raises if bad images must not be left out, or if nothing else is left."""
        yield from shard()
        metadata = self._written
        is_empty = not all(metadata["num_objects"].values())
        metadata["skipped"] += self._bad_images
        for split, tally in self._tallies.items():
            metadata["warnings"] += tally.warnings(split)
        if self._num_orientations_guessed:
            metadata["warnings"].append(
                f"{self._num_orientations_guessed} images have an EXIF orientation, and"
                " their annotations are assumed to refer to the upright image; the"
                " field `exif_orientation_applied` of an image decides it."
            )
        if metadata["skipped"] and (is_empty or not self.skip_bad):
            raise DatasetError(metadata["skipped"])

    def _made(self, what: str, makers: Sequence[Callable]) -> Iterator[_Record | None]:
        """Makes records in order; None, after noting why, for bad images."""
        made = ordered_map(
            _made_or_error,
            makers,
            num_ahead=_RECORDS_AHEAD,
            num_threads=self.builder_config.num_threads,
        )
        for record in reported(made, what, len(makers)):
            if isinstance(record, DatasetError):
                self._bad_images += record.problems
                yield None
            else:
                yield self._finish(record)


def _made_or_error(make: Callable[[], _Record]) -> _Record | DatasetError:
    """Makes a record; returns an error about the image instead of raising it."""
    try:
        return make()
    except DatasetError as error:
        return error


def _count_objects(record: _Record) -> int:
    """Counts annotations that are no crowds and whose box has area inside the image."""
    low, extent = np.split(record["bbox_xywh_px"], 2, axis=1)
    image_size = np.array([record["width"], record["height"]])
    inside = np.minimum(low + extent, image_size) - np.maximum(low, 0)
    return int(((inside > 0).all(axis=1) & (record["is_crowd"] == 0)).sum())


def print_warnings(metadata: Mapping[str, Any], directory: os.PathLike) -> None:
    """Prints to stderr what was left out, and what looks like a mistake."""
    num_skipped = len(metadata["skipped"])
    if num_skipped:
        text = f"left out {num_skipped} bad annotations or images, which"
        path = os.path.join(directory, "metadata.json")
        print(text, f"{path} lists.", file=sys.stderr)
    for warning in metadata.get("warnings", ()):
        print(f"warning: {warning}", file=sys.stderr)


def reported(items: Iterable[_T], what: str, total: int) -> Iterator[_T]:
    """Yields the items, and prints the progress to stderr every ten seconds.

    Args:
      items: what takes long to make.
      what: their plural.
      total: how many there will be.
    """
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last > _SECONDS_BETWEEN_REPORTS:
            rate = done / (now - start)
            text = f"prepared {done} of {total} {what}, {rate:.0f}/s,"
            left = f"{(total - done) / rate:.0f} s to go"
            print(text, left, file=sys.stderr, flush=True)
            last = now

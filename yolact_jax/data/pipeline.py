"""Padded training batches, a pure function of (seed, step), and ordered reading."""

import functools
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags

from yolact_jax.config import Augment, InputFrame, Size, sides_of
from yolact_jax.data import workers
from yolact_jax.data.augment.sample import collate
from yolact_jax.data.records.cache import Source
from yolact_jax.data.samples import samples_of
from yolact_jax.data.selection import images_to_train_on

_LOGGER = logging.getLogger(__name__)
# More threads would wait for each other, and hold more batches in memory.
_MAX_THREADS = 16


class TrainingBatches(Iterator[dict[str, np.ndarray]]):
    """Endless batches; use it as a context manager, or close it.

    Each batch has the fields of `structures.Batch`, and `image_ids` [B] int64 and
    `dropped` [B] int32, the number of annotations without a slot.  The first image with
    any is logged.

    Attributes:
      num_dropped: annotations without a slot so far.
    """

    def __init__(self, iterator: Any, num_workers: int = 0):
        self._iterator = iterator
        self._num_workers = num_workers
        self.num_dropped = 0

    def __next__(self) -> dict[str, np.ndarray]:
        if self._iterator is None:
            raise ValueError("The training batches were closed.")
        with workers.watched(self._num_workers):
            batch = next(self._iterator)
        self._count_dropped(batch)
        return batch

    def _count_dropped(self, batch: dict[str, np.ndarray]) -> None:
        """Counts annotations without a slot, and logs the first."""
        for index in np.flatnonzero(batch["dropped"]):
            if not self.num_dropped:
                _LOGGER.warning(
                    "Image %d has more annotations than the %d slots of max_objects; "
                    "the %d smallest are left out, here and wherever it happens.",
                    batch["image_ids"][index],
                    batch["valid"].shape[1],
                    batch["dropped"][index],
                )
            self.num_dropped += int(batch["dropped"][index])

    def __enter__(self) -> "TrainingBatches":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Stops worker processes and threads."""
        if self._iterator is not None:
            self._iterator.close()
        self._iterator = None


def training_batches(
    source: Source,
    *,
    batch_size: int,
    frame: InputFrame,
    mask_size: Size,
    max_objects: int,
    augment: Augment,
    mask_target: str,
    seed: int,
    negative_share: float = 0.0,
    drawn_sizes: Sequence[tuple[InputFrame, Size]] = (),
    start_step: int = 0,
    num_workers: int,
    num_threads: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> TrainingBatches:
    """Starts loading shuffled, augmented, padded batches.

    Batch i depends on `seed` and i only, not on `start_step`, workers, threads or
    processes.  Each process loads a block of its rows.

    Args:
      source: the split; any sequence of examples with `num_objects` will do.
      batch_size: images per batch over all processes, a multiple of `process_count`.
      frame: the network input, and how images are put on it.
      mask_size: height and width of the masks, pixels, or their side.
      max_objects: slots for annotations per image (G).
      augment: which random changes to make.
      mask_target: see `config.Data`.
      seed: of shuffling and augmentation, in [0, 2**31).
      negative_share: see `images_to_train_on`.
      drawn_sizes: pairs of `frame` and `mask_size`, of which each batch draws one
        instead; see `data.multi_scale`.
      start_step: the first batch to return, to resume a run.
      num_workers: processes that load; 0 to load in threads of this process.  A script
        with workers needs the usual `if __name__ == "__main__":`.
      num_threads: threads that load when there are no workers; by default one per core,
        at most 16.
      process_index: which of the processes of the run this is.
      process_count: processes of the run.

    Returns:
      An endless iterator of this process's rows of the batches, B being `batch_size`
      divided by `process_count`.

    Raises:
      DatasetError: if no image has an object.
      LoaderError: by the iterator, if a worker dies.
      ValueError: if an argument is out of range.
    """
    # Imported late: grain imports jax, which readers of single images do not need.
    import grain

    _require_at_least(1, batch_size=batch_size, max_objects=max_objects)
    _require_at_least(1, frame=min(frame.size), mask_size=min(sides_of(mask_size)))
    _require_at_least(0, start_step=start_step, num_workers=num_workers, seed=seed)
    _check_processes(batch_size, process_index, process_count)
    samples = samples_of(
        source,
        images_to_train_on(source, negative_share, seed),
        seed,
        batch_size,
        drawn_sizes or [(frame, mask_size)],
        options=augment,
        mask_target=mask_target,
        max_objects=max_objects,
    )
    count = batch_size // process_count
    rows = range(process_index * count, (process_index + 1) * count)
    pad = functools.partial(collate, max_objects=max_objects)
    batches = _rows_of_batches(samples, batch_size, rows).map(pad)[start_step:]
    threads = num_threads or min(os.cpu_count() or 1, _MAX_THREADS)
    if num_workers:
        _allow_unparsed_flags()
        # A worker needs no more than one batch in progress and one ready.
        options = grain.MultiprocessingOptions(num_workers, per_worker_buffer_size=1)
        loaded = batches.to_iter_dataset(_read_options(1)).mp_prefetch(
            options, worker_init_fn=workers.end_with_parent
        )
    else:
        loaded = batches.to_iter_dataset(_read_options(threads))
    return TrainingBatches(iter(loaded), num_workers)


def _check_processes(batch_size: int, process_index: int, process_count: int) -> None:
    """Raises unless the processes can share a batch."""
    _require_at_least(1, process_count=process_count)
    if not 0 <= process_index < process_count:
        raise ValueError(
            f"`process_index` is {process_index}; with `process_count` {process_count}"
            f" it must be in 0..{process_count - 1}."
        )
    if batch_size % process_count:
        raise ValueError(
            f"`batch_size` is {batch_size}; it must be a multiple of `process_count`, "
            f"{process_count}."
        )


def _rows_of_batches(samples: Any, batch_size: int, rows: Sequence[int]) -> Any:
    """Cuts a dataset into batches, and each to a tuple of some of its rows."""
    import grain

    end = len(samples) // batch_size * batch_size
    columns = [samples[row:end:batch_size] for row in rows]
    return grain.experimental.ZipMapDataset(columns)


def _allow_unparsed_flags() -> None:
    """Lets workers, which use absl's flags, start in a program that does not."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _read_options(threads: int) -> Any:
    """Threads, and how many batches they may be ahead, as each takes much memory."""
    import grain

    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1)


def _require_at_least(least: int, **values: int) -> None:
    """Raises ValueError for an argument below `least`."""
    for name, value in values.items():
        if value < least:
            raise ValueError(f"`{name}` is {value}; it must be at least {least}.")

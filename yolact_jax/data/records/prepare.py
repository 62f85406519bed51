"""Writes records once with a TFDS builder, and finds them the next time."""

import contextlib
import dataclasses
import hashlib
import io
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence

import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records.builder import (
    RecordsBuilder,
    RecordsConfig,
    print_warnings,
)
from yolact_jax.data.records.dataset import Dataset, open_dataset


def prepare(
    builder_class: type[RecordsBuilder], config: RecordsConfig, data_dir: pathlib.Path
) -> Dataset:
    """Writes the records; a failure leaves nothing behind.

    Args:
      builder_class: of the records.
      config: names the content.
      data_dir: folder of all prepared datasets.

    Raises:
      DatasetError: if images are damaged.
    """
    tfds.disable_progress_bar()
    # TFDS talks about downloads and custom configurations, which helps nobody here.
    with _quiet(), tempfile.TemporaryDirectory() as downloads:
        builder = builder_class(data_dir=data_dir, config=config)
        directory = pathlib.Path(builder.data_dir)
        try:
            builder.download_and_prepare(download_dir=downloads)
        except OSError:
            # Another process may have been faster: its records are as good.
            if not _is_prepared(directory):
                raise
    return open_dataset(directory)


def prepare_downloaded(
    builder_class: type[RecordsBuilder],
    names: Sequence[str],
    data_dir: str | os.PathLike,
) -> Dataset:
    """Opens records of an official dataset, or downloads it and writes them.

    Args:
      builder_class: of the records.
      names: configurations that will do; the first one is what gets written.
      data_dir: folder of all prepared datasets; downloads are kept there too.

    Raises:
      DatasetError: if a download failed, or is not what it should be.
    """
    data_dir = pathlib.Path(data_dir).expanduser().absolute()
    for name in names:
        found = find_prepared(builder_class, name, data_dir)
        if found:
            return found
    builder = builder_class(data_dir=data_dir, config=names[0])
    try:
        builder.download_and_prepare()
    except DatasetError:
        raise
    except (OSError, tfds.download.DownloadError, NonMatchingChecksumError) as error:
        raise DatasetError(
            f"{builder.name}/{names[0]} could not be downloaded to {data_dir}: {error}"
            " Run it again to continue with the files downloaded so far."
        ) from error
    return open_dataset(pathlib.Path(builder.data_dir))


def find_prepared(
    builder_class: type[RecordsBuilder], name: str, data_dir: pathlib.Path
) -> Dataset | None:
    """Opens records that were written before, if any, and repeats their warnings.

    Args:
      builder_class: that would write them.
      name: of the configuration, such as the fingerprint of the content.
      data_dir: folder of all prepared datasets.
    """
    version = str(builder_class.VERSION)
    directory = data_dir / builder_class.name / name / version
    if not _is_prepared(directory):
        return None
    dataset = open_dataset(directory)
    print_warnings(dataclasses.asdict(dataset), directory)
    return dataset


def _is_prepared(directory: pathlib.Path) -> bool:
    """Whether a folder has all its records; TFDS renames it when it is complete."""
    return (directory / "dataset_info.json").is_file()


def fingerprint_of(parts: Iterable[bytes | str]) -> str:
    """Hashes parts that change whenever the dataset does, to 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def file_states(folder: pathlib.Path, names: Iterable[str]) -> Iterator[str]:
    """Yields name, size and time of change of files in a folder, without reading them.

    Moving a file, or copying it with its times, changes none of them.  Files that do
    not exist are left out.
    """
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            state = os.stat(os.path.join(folder, name))
            yield f"{name} {state.st_size} {state.st_mtime_ns}"


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

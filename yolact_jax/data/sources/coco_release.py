"""The official releases of COCO, as a TFDS builder that downloads them.

import tensorflow_datasets as tfds
import yolact_jax.data.sources.builders

builder = tfds.builder("yolact_coco/2017_trainval", data_dir="data/records")
builder.download_and_prepare()
images = builder.as_data_source("train")
"""

import dataclasses
import functools
import itertools
import os
import pathlib
import zipfile
from collections.abc import Callable, Mapping
from importlib.resources.abc import Traversable
from typing import Any

import tensorflow_datasets as tfds

from yolact_jax.data.errors import gathered
from yolact_jax.data.records import prepare
from yolact_jax.data.records.builder import RecordsBuilder, RecordsConfig
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.data.sources import coco_json
from yolact_jax.data.sources.coco_builder import (
    common_categories,
    prepare_coco,
    record_makers,
)

_ANNOTATIONS_URL = "http://images.cocodataset.org/annotations/{}.zip"
_IMAGES_URL = "http://images.cocodataset.org/zips/{}.zip"


@dataclasses.dataclass(frozen=True)
class ReleaseSplit:
    """Where a split is, in the archives and in the folder they are unpacked to.

    Attributes:
      annotations_url: of the archive with the json file.
      annotations_file: path of the json file in it.
      images_url: of the archive of images.
      images_dir: folder of the images in it.
      is_annotated: False for test images.
    """

    annotations_url: str
    annotations_file: str
    images_url: str
    images_dir: str
    is_annotated: bool = True


@dataclasses.dataclass(eq=False, kw_only=True)
class ReleaseConfig(RecordsConfig):
    """A release, or some splits of it.

    Attributes:
      splits: split name -> where it is.
    """

    splits: dict[str, ReleaseSplit]


def _split(annotations: str, file: str, images: str, **options: Any) -> ReleaseSplit:
    """Makes a split from the names that the release uses."""
    return ReleaseSplit(
        _ANNOTATIONS_URL.format(annotations),
        f"annotations/{file}.json",
        _IMAGES_URL.format(images),
        images,
        **options,
    )


def _release(year: str, test: Mapping[str, ReleaseSplit]) -> list[ReleaseConfig]:
    """Makes the configurations with and without the test images."""
    trainval = {
        split: _split(
            f"annotations_trainval{year}", f"instances_{name}{year}", f"{name}{year}"
        )
        for split, name in (("train", "train"), ("validation", "val"))
    }
    with_test = "train, validation and test images"
    return [
        ReleaseConfig(name=year, description=with_test, splits={**trainval, **test}),
        ReleaseConfig(
            name=f"{year}_trainval", description="no test images", splits=trainval
        ),
    ]


_TEST_DEV_2017 = _split(
    "image_info_test2017", "image_info_test-dev2017", "test2017", is_annotated=False
)
_TEST_2014 = _split(
    "image_info_test2014", "image_info_test2014", "test2014", is_annotated=False
)


class YolactCoco(RecordsBuilder):
    """COCO instances with their masks, by year.

    "2017" has the splits train, validation and test_dev; "2014" has train, validation
    and test.  "2017_trainval" and "2014_trainval" lack the 6 GB of test images.
    """

    name = "yolact_coco"
    BUILDER_CONFIGS = [
        *_release("2017", {"test_dev": _TEST_DEV_2017}),
        *_release("2014", {"test": _TEST_2014}),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Optional: the official archives of https://cocodataset.org/#download, or the"
        " folders annotations, train2017 and so on that they unpack to.  Whatever is"
        " not there is downloaded."
    )

    def _split_makers(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable]]:
        """Downloads what is needed; reads images from within the archives."""
        config = self.builder_config
        places = _unpacked(config.splits, _manual_dir(dl_manager))
        # Nobody can repair the official archives: what is bad in them is left out.
        self.skip_bad = config.skip_bad or not places
        missing = {s: where for s, where in config.splits.items() if s not in places}
        places |= _archived(missing, dl_manager)
        sets = gathered(
            {
                split: functools.partial(
                    coco_json.read_set,
                    *places[split],
                    skip_bad=True,
                    is_annotated=where.is_annotated,
                )
                for split, where in config.splits.items()
            }
        )
        self._written.update(_description(config.name, sets))
        return {split: record_makers(sets[split]) for split in sets}


_Place = tuple[Traversable, Traversable]  # Json file and folder of images.


def _manual_dir(dl_manager: tfds.download.DownloadManager) -> pathlib.Path | None:
    """Returns the folder of files that the user already has, if any."""
    try:
        return pathlib.Path(dl_manager.manual_dir)
    except AssertionError:  # TFDS's way to say that it is empty or not there.
        return None


def _unpacked(
    splits: Mapping[str, ReleaseSplit], folder: pathlib.Path | None
) -> dict[str, _Place]:
    """Finds the splits that were unpacked in a folder."""
    if folder is None:
        return {}
    places = {
        split: (folder / where.annotations_file, folder / where.images_dir)
        for split, where in splits.items()
    }
    return {
        split: (file, images)
        for split, (file, images) in places.items()
        if file.is_file() and images.is_dir()
    }


def _archived(
    splits: Mapping[str, ReleaseSplit], dl_manager: tfds.download.DownloadManager
) -> dict[str, _Place]:
    """Downloads the archives of splits; they stay packed."""
    urls = {
        url
        for where in splits.values()
        for url in (where.annotations_url, where.images_url)
    }
    archives = dl_manager.download({url: url for url in sorted(urls)})
    opened = {url: zipfile.Path(os.fspath(archives[url])) for url in sorted(urls)}
    return {
        split: (
            opened[where.annotations_url] / where.annotations_file,
            opened[where.images_url] / where.images_dir,
        )
        for split, where in splits.items()
    }


def _description(name: str, sets: Mapping[str, coco_json.CocoSet]) -> dict[str, Any]:
    """Describes the content of a release in the metadata."""
    categories = common_categories(sets.values())
    files = (coco_set.annotations_file.read_bytes() for coco_set in sets.values())
    return {
        "class_names": [class_name for _, class_name in categories],
        "category_ids": [category_id for category_id, _ in categories],
        "fingerprint": prepare.fingerprint_of(itertools.chain([name], files)),
        "skipped": [text for coco_set in sets.values() for text in coco_set.skipped],
    }


def prepare_release(
    year: str,
    *,
    data_dir: str | os.PathLike,
    folder: str | os.PathLike | None = None,
    skip_bad: bool = False,
) -> Dataset:
    """Writes the records of the training and validation images of a release.

    Args:
      year: "2017" or "2014".
      data_dir: folder of all prepared datasets, created if missing; archives are
        downloaded to `downloads` in it.
      folder: the unpacked archives; None to download them unless there are records.
      skip_bad: leave out bad annotations and images of `folder` instead of raising.

    Raises:
      DatasetError: if `folder` lacks something, or the download failed.
    """
    if folder is not None:
        folder = pathlib.Path(folder).expanduser()
        return prepare_coco(
            data_dir=data_dir,
            train_annotations=folder / f"annotations/instances_train{year}.json",
            train_images=folder / f"train{year}",
            validation_annotations=folder / f"annotations/instances_val{year}.json",
            validation_images=folder / f"val{year}",
            skip_bad=skip_bad,
        )
    return prepare.prepare_downloaded(YolactCoco, (f"{year}_trainval", year), data_dir)

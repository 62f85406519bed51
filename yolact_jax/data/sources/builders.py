"""Registers the TFDS builders of this package; after the import use `tfds.builder`.

    builder = tfds.builder("yolact_coco/2017", data_dir="data/records")

There are `yolact_coco`, `yolact_sbd` and `yolact_shapes`; `coco_builder.prepare_coco`
prepares folders in COCO format.
"""

from yolact_jax.data.sources.coco_builder import CocoFolder
from yolact_jax.data.sources.coco_release import YolactCoco
from yolact_jax.data.sources.sbd_builder import YolactSbd
from yolact_jax.data.sources.shapes_builder import YolactShapes

__all__ = ["CocoFolder", "YolactCoco", "YolactSbd", "YolactShapes"]

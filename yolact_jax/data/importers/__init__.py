"""Other annotation formats as COCO-format content; one module for each format."""

from yolact_jax.data.importers.content import Imported
from yolact_jax.data.importers.labelme import from_labelme
from yolact_jax.data.importers.png import from_png
from yolact_jax.data.importers.yolo import from_yolo

__all__ = ["Imported", "from_labelme", "from_png", "from_yolo"]

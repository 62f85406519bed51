"""Overfits eight images: the quickest proof that a model can learn its data.

    python benchmarks/overfit.py --workdir runs/overfit \
        --annotations data/coco/annotations/instances_train2017.json \
        --images data/coco/train2017

Takes the first images, by id, with one to five objects, no crowd, and no object below
one percent of the image; trains a small model on them without augmentation; prints
the AP on the same images.  Anything below 0.8 mask AP is a bug.
"""

import collections
import json
import sys
from pathlib import Path

from absl import app, flags

sys.path.insert(0, str(Path(__file__).parent.parent))

from configs import coco
from yolact_jax.cli import start_logging
from yolact_jax.training.loop import train

_ANNOTATIONS = flags.DEFINE_string("annotations", None, "A json in COCO format.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of its images.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_COUNT = flags.DEFINE_integer("count", 8, "Images; also the batch size.")
_STEPS = flags.DEFINE_integer("steps", 800, "Updates.")

_MAX_OBJECTS = 5
_MIN_AREA_FRACTION = 0.01


def select(content: dict, count: int) -> dict:
    """Keeps the images that the docstring describes, and the categories on them."""
    by_image = collections.defaultdict(list)
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation)

    def is_suitable(image: dict) -> bool:
        objects = by_image[image["id"]]
        least = _MIN_AREA_FRACTION * image["height"] * image["width"]
        return 1 <= len(objects) <= _MAX_OBJECTS and all(
            not a["iscrowd"] and a["area"] >= least for a in objects
        )

    images = sorted(filter(is_suitable, content["images"]), key=lambda i: i["id"])
    images = images[:count]
    annotations = [a for image in images for a in by_image[image["id"]]]
    used = {a["category_id"] for a in annotations}
    categories = [c for c in content["categories"] if c["id"] in used]
    return {"images": images, "annotations": annotations, "categories": categories}


def make_config(annotations: Path, images: str, records: Path):
    """A small model at a small size, trained and evaluated on the same images."""
    config = coco.get_config()
    config.data.records_dir = str(records)
    config.data.train_annotations = config.data.validation_annotations = str(
        annotations
    )
    config.data.train_images = config.data.validation_images = images
    config.data.input_size = 320
    for name in config.augment:
        config.augment[name] = False
    config.model.backbone = "resnet18"
    config.model.backbone_width = 32
    config.model.features = 64
    config.anchors.scales_px = ((24.0,), (48.0,), (96.0,), (160.0,), (288.0,))
    config.optimizer.scale_with_batch = False
    config.optimizer.learning_rate = 0.01
    config.optimizer.warmup_steps = 50
    config.optimizer.decay_steps = (3 * _STEPS.value // 4,)
    config.optimizer.clip_norm = 10.0
    config.train.batch_size = _COUNT.value
    config.train.num_steps = _STEPS.value
    config.train.checkpoint_every_steps = _STEPS.value
    config.train.log_every_steps = 25
    return config


def main(_) -> None:
    """Writes the small annotation file, and trains."""
    start_logging()
    workdir = Path(_WORKDIR.value)
    workdir.mkdir(parents=True, exist_ok=True)
    content = json.loads(Path(_ANNOTATIONS.value).read_text())
    annotations = workdir / "annotations.json"
    annotations.write_text(json.dumps(select(content, _COUNT.value)))
    train(make_config(annotations, _IMAGES.value, workdir / "records"), workdir)


if __name__ == "__main__":
    flags.mark_flags_as_required(["annotations", "images", "workdir"])
    app.run(main)

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

from yolact_jax.cli import start_logging
from yolact_jax.config import Config
from yolact_jax.data.augment.views import NO_AUGMENTATION
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
    return Config(augment=NO_AUGMENTATION).replace(
        {
            "data.records_dir": str(records),
            "data.train_annotations": str(annotations),
            "data.validation_annotations": str(annotations),
            "data.train_images": images,
            "data.validation_images": images,
            "data.input_size": 320,
            "model.backbone": "resnet18",
            "model.backbone_width": 32,
            "model.features": 64,
            "anchors.scales_px": ((24.0,), (48.0,), (96.0,), (160.0,), (288.0,)),
            "optimizer.scale_with_batch": False,
            "optimizer.learning_rate": 0.01,
            "optimizer.warmup_steps": 50,
            "optimizer.decay_steps": (3 * _STEPS.value // 4,),
            "optimizer.clip_norm": 10.0,
            "train.batch_size": _COUNT.value,
            "train.num_steps": _STEPS.value,
            "train.checkpoint_every_steps": _STEPS.value,
            "train.log_every_steps": 25,
        }
    )


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

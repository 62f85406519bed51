"""Your own data: any json in COCO format with its images; see docs/data.md.

    python train.py --config configs/custom.py --workdir runs/custom

The classes are read from the json file.  Starts from the model of configs/coco.py with
a smaller backbone, for some hundreds or thousands of images.
"""

from configs import coco


def get_config():
    config = coco.get_config()

    config.data.train_annotations = "data/custom/train.json"
    config.data.train_images = "data/custom/train"
    config.data.validation_annotations = "data/custom/val.json"
    config.data.validation_images = "data/custom/val"
    config.model.backbone = "resnet50"

    config.optimizer.warmup_steps = 200
    config.optimizer.decay_steps = (14_000, 18_000)
    config.optimizer.clip_norm = 10.0  # the first steps of a new model may be wild
    config.train.num_steps = 20_000
    config.train.checkpoint_every_steps = 2_000
    config.train.eval_every_steps = 4_000

    return config

"""Nuclei in microscope images (2018 Data Science Bowl, stage 1), in COCO format.

    python train.py --config configs/nuclei.py --workdir runs/nuclei

An example of one's own data: one class, up to hundreds of small objects an image.
"""

from configs import coco


def get_config():
    config = coco.get_config()

    folder = "data/nuclei"
    config.data.train_annotations = f"{folder}/annotations/instances_train.json"
    config.data.train_images = f"{folder}/train"
    config.data.validation_annotations = f"{folder}/annotations/instances_val.json"
    config.data.validation_images = f"{folder}/val"
    config.data.input_size = 256
    config.data.max_objects = 400
    # A short run learns more from the pictures as they are.
    config.augment.photometric = False
    config.augment.expand = False
    config.augment.crop = False
    config.augment.flip_vertical = True

    config.model.backbone = "resnet18"
    config.model.backbone_width = 32
    config.model.features = 64
    config.anchors.scales_px = ((14.0,), (28.0,), (56.0,), (112.0,), (224.0,))

    config.optimizer.learning_rate = 0.02
    config.optimizer.warmup_rate = 1e-3
    config.optimizer.warmup_steps = 100
    config.optimizer.decay_steps = (750, 950)
    config.optimizer.clip_norm = 10.0
    config.train.num_steps = 1000
    config.train.checkpoint_every_steps = 250
    config.eval.max_detections = 200

    return config

"""A small YOLACT on generated shapes: minutes on a laptop, nothing to download.

python train.py --config configs/shapes.py --workdir runs/shapes
"""

from configs import coco


def get_config():
    config = coco.get_config()

    config.data.dataset = "shapes"
    config.data.shapes_train_images = 6000
    config.data.shapes_validation_images = 400
    config.data.shapes_image_size = 128  # pixels
    config.data.shapes_seed = 0
    config.data.input_size = 128
    config.data.max_objects = 8

    # In a few thousand steps, easy pictures teach more than distorted ones.
    config.augment.photometric = False
    config.augment.expand = False
    config.augment.crop = False
    config.augment.flip_vertical = True

    config.model.backbone = "resnet18"
    config.model.backbone_width = 32
    config.model.features = 64
    config.model.num_prototypes = 16
    config.anchors.scales_px = ((24.0,), (40.0,), (64.0,), (96.0,), (128.0,))

    # A small network without pretrained weights stands 20 times the published rate.
    config.optimizer.learning_rate = 0.02
    config.optimizer.warmup_rate = 1e-3
    config.optimizer.warmup_steps = 100
    config.optimizer.decay_steps = (1700, 2250)
    config.optimizer.clip_norm = 10.0

    config.train.num_steps = 2400
    config.train.log_every_steps = 100
    config.train.checkpoint_every_steps = 600
    config.eval.batch_size = 16

    return config

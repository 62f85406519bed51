"""A run of seconds, for tests of training."""

import json

from tests.test_configs import load

TIMINGS = {"train/images_per_second", "train/data_wait", "train/eta_seconds"}


def tiny_config(folder):
    """Four steps on twelve pictures of 64 pixels; records go into the folder."""
    config = load("shapes")
    config.data.records_dir = str(folder / "records")
    config.data.shapes_train_images = 12
    config.data.shapes_validation_images = 4
    config.data.shapes_image_size = 64
    config.data.input_size = 64
    config.model.backbone_width = 8
    config.model.features = 16
    config.model.num_prototypes = 4
    config.train.batch_size = 4
    config.optimizer.scale_with_batch = False
    config.train.num_steps = 4
    config.train.log_every_steps = 2
    config.train.checkpoint_every_steps = 2
    config.eval.batch_size = 2
    config.eval.sample_images = 3
    return config


def rows(workdir, *, timings=True):
    """The rows of metrics.jsonl."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if timings or k not in TIMINGS}
        for line in lines
    ]

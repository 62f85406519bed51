"""A run of seconds, for tests of training."""

import json

from yolact_jax.zoo.specs import spec

TIMINGS = {"train/images_per_second", "train/data_wait", "train/eta_seconds"}


def tiny_config(folder):
    """Four steps on twelve pictures of 64 pixels; records go into the folder."""
    return spec("shapes").replace(
        {
            "data.records_dir": str(folder / "records"),
            "data.shapes_train_images": 12,
            "data.shapes_validation_images": 4,
            "data.shapes_image_size": 64,
            "data.input_size": 64,
            "model.backbone_width": 8,
            "model.features": 16,
            "model.num_prototypes": 4,
            "train.batch_size": 4,
            "optimizer.scale_with_batch": False,
            "train.num_steps": 4,
            "train.log_every_steps": 2,
            "train.checkpoint_every_steps": 2,
            "eval.batch_size": 2,
            "eval.sample_images": 3,
            "eval.report": False,
        }
    )


def rows(workdir, *, timings=True):
    """The rows of metrics.jsonl."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if timings or k not in TIMINGS}
        for line in lines
    ]

"""From a config and a file of weights to a model that predicts, and back to a file."""

import json
import logging
from pathlib import Path

import jax
import jax.numpy as jnp

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.run.folder import Run
from yolact_jax.weights import classes
from yolact_jax.weights.files import read_metadata, read_weights, write_safetensors
from yolact_jax.weights.hub import find_weights
from yolact_jax.weights.state_dict import load_state_dict, num_classes_of, to_state_dict

_LOGGER = logging.getLogger(__name__)
_KNOWN_CLASSES = {
    80: ("COCO", classes.COCO_NAMES, classes.COCO_IDS),
    20: ("Pascal VOC", classes.PASCAL_NAMES, classes.PASCAL_IDS),
}


def load_pretrained(config: Config, name_or_path: str) -> tuple[Run, dict]:
    """Loads a trained model.

    Args:
      config: that of the model; whether the weights fit it is checked key by key.
      name_or_path: a published name, or a ``.pth`` or ``.safetensors`` file.

    Returns:
      The config with the classes, and the variables of the model on the host.

    Raises:
      ValueError: if there is no such file, it is not one of weights, or it does not
        fit the config.
    """
    path = find_weights(name_or_path)
    tensors = read_weights(path)
    num_classes = num_classes_of(tensors)
    if num_classes is None:
        raise ValueError(
            f"`weights` {path} has no array semantic_seg_conv.bias, so it is not a "
            f"whole YOLACT; a backbone can only start a training, as "
            f"config.train.init_weights."
        )
    run = Run(config, *_classes_of(path, num_classes))
    variables, report = load_state_dict(
        tensors, abstract_variables(config, num_classes), source=str(path)
    )
    _LOGGER.info("%s", report)
    return run, variables


def initialize_from(variables: dict, name_or_path: str) -> dict:
    """Replaces initial variables by pretrained ones, as far as there are any.

    Args:
      variables: of a freshly initialised model.
      name_or_path: a published name or a file: a backbone, or a whole model, whose
        class-dependent layers are left out if it was trained on other classes.

    Returns:
      The new variables; what was not loaded is in the log.

    Raises:
      ValueError: as for `load_pretrained`.
    """
    path = find_weights(name_or_path)
    variables, report = load_state_dict(
        read_weights(path), variables, source=str(path), reset_class_heads=True
    )
    _LOGGER.info("%s", report)
    return variables


def export_weights(run: Run, variables: dict, path: str | Path) -> None:
    """Writes a model as a ``.safetensors`` file that PyTorch's YOLACT can load.

    Args:
      run: the classes go with the weights, as metadata.
      variables: of the model.
      path: where to.

    Raises:
      ValueError: if the path does not end in ``.safetensors``.
    """
    metadata = {
        "class_names": json.dumps(list(run.class_names)),
        "category_ids": json.dumps([int(i) for i in run.category_ids]),
    }
    write_safetensors(path, to_state_dict(variables), metadata)


def abstract_variables(config: Config, num_classes: int) -> dict:
    """Describes the variables of a model without making them.

    Args:
      config: the whole config.
      num_classes: C, foreground classes.

    Returns:
      A tree of `jax.ShapeDtypeStruct`.
    """
    model = build.make_model(config, num_classes)
    size = config.data.input_size
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, train=True), images
    )


def _classes_of(
    path: Path, num_classes: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    metadata = read_metadata(path)
    if "class_names" in metadata:
        names = tuple(json.loads(metadata["class_names"]))
        return names, tuple(json.loads(metadata["category_ids"]))
    if num_classes not in _KNOWN_CLASSES:
        raise ValueError(
            f"`weights` {path} is for {num_classes} classes and does not name them; "
            f"only the {' or '.join(map(str, _KNOWN_CLASSES))} of the published models "
            f"are known without names."
        )
    dataset, names, ids = _KNOWN_CLASSES[num_classes]
    _LOGGER.info("%s has %d classes: taken for %s's.", path, num_classes, dataset)
    return names, ids

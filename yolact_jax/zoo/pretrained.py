"""Loads models from a config and a file of weights, and writes such files."""

import functools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.pixels import PIXEL_FIELDS, RGB, Pixels
from yolact_jax.data.sources.coco_checks import check_categories
from yolact_jax.inference import traced
from yolact_jax.run.folder import Run
from yolact_jax.weights import classes
from yolact_jax.weights.class_rows import with_rows_by_name
from yolact_jax.weights.files import read_metadata, read_weights, write_safetensors
from yolact_jax.weights.hub import find_weights
from yolact_jax.weights.input_channels import with_input_of
from yolact_jax.weights.state_dict import load_state_dict, num_classes_of, to_state_dict

_LOGGER = logging.getLogger(__name__)
_MOST_NAMED = 20
_PIXELS = "pixels"
_KNOWN_CLASSES = {
    80: ("COCO", classes.COCO_NAMES, classes.COCO_IDS),
    20: ("Pascal VOC", classes.PASCAL_NAMES, classes.PASCAL_IDS),
}


def load_pretrained(
    config: Config, name_or_path: str, class_names: str | None = None
) -> tuple[Run, dict]:
    """Loads a trained model.

    Args:
      config: that of the model; every key of the weights must fit it.
      name_or_path: a published name, or a ``.pth`` or ``.safetensors`` file.
      class_names: for a file that does not name its classes, see `parse_class_names`;
        without them, 80 classes are assumed to be COCO's and 20 Pascal VOC's, and
        other numbers those of the config's annotation file.  Names of one of these
        have its category ids.

    Returns:
      The config with the classes, and the variables of the model on the host.

    Raises:
      ValueError: if there is no such file, it has no weights, they do not fit the
      config,
        or the classes are unknown or differ.
    """
    path = find_weights(name_or_path)
    tensors = read_weights(path)
    config = _with_pixels_of(path, config)
    num_classes = num_classes_of(tensors)
    if num_classes is None:
        raise ValueError(
            f"`weights` {path} has no array semantic_seg_conv.bias with a number for "
            f"each class, so it is not a whole YOLACT; a backbone can only start a "
            f"training, as config.train.init_weights."
        )
    run = Run(config, *_classes_of(config, path, num_classes, class_names))
    variables, report = load_state_dict(
        tensors, abstract_variables(config, num_classes), source=str(path)
    )
    _LOGGER.info("%s", report)
    return run, variables


def initialize_from(
    variables: dict, name_or_path: str, class_names: Sequence[str] = ()
) -> dict:
    """Replaces initial variables by pretrained ones, as far as there are any.

    What was not loaded is in the log.

    Args:
      variables: of a new model.
      name_or_path: a published name or a file: a backbone, or a whole model, of whose
        class-dependent layers the rows of classes with the same name are taken.  Its
        first convolution may be for RGB where the model has other channels.
      class_names: of the new model; without them, those layers are taken whole if they
        are for as many classes, and else not.

    Raises:
      ValueError: as for `load_pretrained`.
    """
    path = find_weights(name_or_path)
    tensors = with_input_of(read_weights(path), variables)
    loaded, report = load_state_dict(
        tensors, variables, source=str(path), reset_class_heads=True
    )
    _LOGGER.info("%s", report)
    there = _names_in(path, num_classes_of(tensors))
    if not there or not class_names or tuple(there) == tuple(class_names):
        return loaded
    shared = [name for name in class_names if name in there]
    _LOGGER.info(
        "%s has %d of the %d classes by name%s; the others start anew.",
        path,
        len(shared),
        len(class_names),
        f" ({', '.join(shared[:_MOST_NAMED])}{', ...' * (len(shared) > _MOST_NAMED)})"
        if shared
        else "",
    )
    return with_rows_by_name(loaded, variables, tensors, there, class_names)


def _names_in(path: Path, num_classes: int | None) -> Sequence[str]:
    """Names of the classes of a whole model, if the file or their number tells."""
    if num_classes is None:
        return ()
    named = _named_classes(path)
    known = _KNOWN_CLASSES.get(num_classes)
    names = named[0] if named else known[1] if known else ()
    return names if len(names) == num_classes else ()


def export_weights(run: Run, variables: dict, path: str | Path) -> None:
    """Writes a model as a ``.safetensors`` file that PyTorch's YOLACT can load.

    The classes of `run`, and its channels and window, go with them, as metadata.

    Raises:
      ValueError: if the path does not end in ``.safetensors``.
    """
    metadata = {
        "class_names": json.dumps(list(run.class_names)),
        "category_ids": json.dumps([int(i) for i in run.category_ids]),
    }
    pixels = Pixels.of(run.config.data)
    if pixels != RGB:
        metadata[_PIXELS] = json.dumps(pixels.fields())
    write_safetensors(path, to_state_dict(variables), metadata)


@functools.lru_cache(maxsize=8)
def abstract_variables(config: Config, num_classes: int) -> dict:
    """Returns the variables of a model as a tree of `jax.ShapeDtypeStruct`."""
    model = build.make_model(config, num_classes)
    shape = (1, *config.data.frame.size, config.data.channels)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)

    def init(images):
        return model.init(jax.random.key(0), images, train=True)

    return traced.abstract_variables(lambda: jax.eval_shape(init, images), model, shape)


def _classes_of(
    config: Config, path: Path, num_classes: int, given: str | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Finds names and ids: in the file, as given, by their number, in the data."""
    named = _named_classes(path)
    names = classes.parse_class_names(given) if given else None
    if named:
        found = named
        if names:
            classes.require_same(names, named[0], "`class_names`", str(path))
    elif names:
        ids = {name: i for i, name in _annotated_classes(config)}
        found = names, _ids_of(names, ids)
    elif num_classes in _KNOWN_CLASSES:
        dataset, *found = _KNOWN_CLASSES[num_classes]
        _LOGGER.info("%s has %d classes: taken for %s's.", path, num_classes, dataset)
    else:
        pairs = _annotated_classes(config)
        found = tuple(name for _, name in pairs), tuple(i for i, _ in pairs)
        if len(pairs) != num_classes:
            raise ValueError(
                f"`weights` {path} is for {num_classes} classes and does not name "
                f"them; give --class_names, a file with one name a line, or point "
                f"config.data.train_annotations to their annotation file."
            )
        _LOGGER.info("%s: classes are those of the config's annotation file.", path)
    if len(found[0]) != num_classes:
        raise ValueError(
            f"`weights` {path} is for {num_classes} classes, and "
            f"{'its metadata' if named else '`class_names`'} has {len(found[0])}."
        )
    return tuple(found[0]), tuple(found[1])


def _ids_of(names: Sequence[str], annotated: Mapping[str, int]) -> tuple[int, ...]:
    """Finds the ids of names: those annotated, COCO's, Pascal's, or 1, 2, 3 and so on.

    Datasets count only if they have just these names, in any order.
    """
    known = [dict(zip(*rest, strict=True)) for _, *rest in _KNOWN_CLASSES.values()]
    for ids in (annotated, *known):
        if set(names) == set(ids):
            return tuple(ids[name] for name in names)
    return tuple(range(1, len(names) + 1))


def _named_classes(path: Path) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """Reads names and ids from the metadata of a file, if it has them."""
    metadata = read_metadata(path)
    if "class_names" not in metadata:
        return None
    try:
        names = json.loads(metadata["class_names"])
        given = metadata.get("category_ids")
        ids = list(_ids_of(names, {})) if given is None else json.loads(given)
        if classes.are_classes(names, ids):
            return tuple(names), tuple(ids)
    except (ValueError, TypeError, RecursionError):
        pass
    raise ValueError(
        f"{path} is damaged: `class_names` and `category_ids` of its metadata must be "
        f"lists of different names and of as many different integers."
    )


def _with_pixels_of(path: Path, config: Config) -> Config:
    """Returns a config with the channels and windows that a file has with its weights.

    Raises:
      ValueError: if the config has others of its own, or the file is damaged.
    """
    text = read_metadata(path).get(_PIXELS)
    if text is None:
        return config
    try:
        wanted = config.replace(json.loads(text))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: `{_PIXELS}`: {error}") from error
    given = config.flat()
    for field in PIXEL_FIELDS:
        if given[field] not in (Config().flat()[field], wanted.flat()[field]):
            raise ValueError(
                f"config.{field} is {given[field]}, but {path} was trained with "
                f"{wanted.flat()[field]}; leave it out."
            )
    return wanted


def _annotated_classes(config: Config) -> tuple[tuple[int, str], ...]:
    """Reads (id, name) pairs off an annotation file of a config, if it is there."""
    data = config.data
    files = map(Path, (data.train_annotations, data.validation_annotations))
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return ()
    try:
        content = json.loads(file.read_text("utf-8-sig"))
        return check_categories(content.get("categories", []), str(file))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{file} does not list its classes: {error}.") from error

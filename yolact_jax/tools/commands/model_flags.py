"""Flags of the commands that use a trained model, and how they load it."""

from typing import Any

from absl import flags
from ml_collections import ConfigDict

from yolact_jax.cli import require_device
from yolact_jax.config import Config, from_config_dict, to_config_dict
from yolact_jax.data.pixels import PIXEL_FIELDS
from yolact_jax.ops.nms.variants import NMS_VARIANTS
from yolact_jax.results.predictor import Predictor
from yolact_jax.run.folder import Run, load_run
from yolact_jax.run.variables import choose_step, load_variables
from yolact_jax.zoo.exported import is_exported, load_exported, read_about
from yolact_jax.zoo.load import Loaded, make_predictor
from yolact_jax.zoo.pretrained import load_pretrained
from yolact_jax.zoo.specs import load_config, spec_of_weights

# Sections in which a model may be used with other values than it was made with.
_FREE = ("data.", "eval.")
# An exported program has the rest of eval inside.
_FREE_IN_EXPORTED = (
    "data.",
    "eval.batch_size",
    "eval.candidate_threshold",
    "eval.iou_threshold",
    "eval.max_images",
    "eval.sample_images",
    "eval.evaluator",
    "eval.report",
    "eval.error_images",
)
_FIXED = ("data.input_size", "data.resize", *PIXEL_FIELDS)


def define(values: flags.FlagValues) -> None:
    """Defines the flags."""
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=values)
    flags.DEFINE_string(
        "step", None, "A step of the run, latest or best. [latest]", flag_values=values
    )
    flags.DEFINE_string(
        "weights",
        None,
        "Published name or file of weights, instead of a run.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "class_names",
        None,
        "Classes of --weights that do not name them: a text file with one a line, or "
        "names separated by commas.",
        flag_values=values,
    )


def define_nms(values: flags.FlagValues) -> None:
    """Defines the flags that choose the kind of NMS."""
    flags.DEFINE_enum(
        "nms", None, NMS_VARIANTS, "Default: that of the config.", flag_values=values
    )
    flags.DEFINE_bool("class_agnostic", None, "NMS across classes.", flag_values=values)


def find_config(given: dict[str, str]) -> ConfigDict | None:
    """Returns the config of the model, from its run, its name or a file.

    Raises:
      ValueError: if the flags contradict each other or name no config.
    """
    workdir, weights = given.get("workdir"), given.get("weights")
    if (workdir is None) == (weights is None):
        raise ValueError(
            "give either --workdir, the folder of a run, or --weights, a published "
            "name or a file together with --config."
        )
    if workdir is not None:
        if "config" in given:
            raise ValueError(
                "--workdir has a config of its own, so --config has no effect; use "
                "--config.data.* and --config.eval.* alone to change the run's."
            )
        return to_config_dict(load_run(workdir).config)
    if is_exported(str(weights)):
        if "config" in given:
            raise ValueError(
                f"--weights {weights} has a config of its own, so --config has no "
                f"effect; use --config.data.* to evaluate on other data."
            )
        return to_config_dict(read_about(str(weights)).config)
    if "config" in given:
        return load_config(given["config"])
    known = spec_of_weights(str(weights))
    if known is not None:
        return to_config_dict(known)
    raise ValueError(
        f"--weights {weights} needs --config, such as yolact_base: the file does not "
        f"say which model it is for."
    )


def load(values: Any) -> tuple[Run, dict, int]:
    """Loads the model that the flags name.

    Returns:
      Config and classes, the variables on the host, and the step of the run (0 for
      weights).

    Raises:
      ValueError: if it cannot be loaded, or a flag contradicts it.
    """
    require_device()
    config = _with_flags(values)
    if values.weights is not None:
        if is_exported(values.weights):
            raise ValueError(
                f"--weights {values.weights} holds a program, and not the weights "
                f"that are needed here; give what it was exported from."
            )
        if values.step is not None:
            raise ValueError("--step is for runs; --weights has no steps.")
        return *load_pretrained(config, values.weights, values.class_names), 0
    if values.class_names is not None:
        raise ValueError("--class_names is for --weights; a run knows its classes.")
    run = load_run(values.workdir)
    _require_same_model(run.config, config, "trained", _FREE)
    step = choose_step(values.workdir, values.step)
    run = Run(config, run.class_names, run.category_ids)
    return run, load_variables(values.workdir, step), step


def _with_flags(values: Any) -> Config:
    """Returns the config, changed by the flags that have names of their own."""
    changes = {
        f"eval.{name}": values[name].value
        for name in ("nms", "class_agnostic", "max_images")
        if name in values and values[name].value is not None
    }
    return from_config_dict(values.config).replace(changes)


def load_predictor(values: Any) -> Predictor:
    """Makes a predictor of the model that the flags name, also of an exported file.

    Raises:
      ValueError: as for `load`.
    """
    if values.weights is not None and is_exported(values.weights):
        return load_exported_file(values)[1]
    return make_predictor(Loaded(*load(values)))


def load_exported_file(values: Any) -> tuple[Config, Predictor]:
    """Loads the exported file that --weights names, with its config.

    Raises:
      ValueError: as for `load`.
    """
    require_device()
    path = values.weights
    for name in ("step", "class_names", "nms", "class_agnostic"):
        if values[name].value is not None:
            raise ValueError(
                f"--{name} has no effect on {path}, which was exported as it is."
            )
    config = _with_flags(values)
    old = read_about(path).config
    _require_same_model(old, config, "exported", _FREE_IN_EXPORTED)
    return config, load_exported(path, config)


def _require_same_model(
    old: Config, new: Config, maker: str, free: tuple[str, ...]
) -> None:
    before, after = old.flat(), new.flat()
    for field in before:
        is_free = field.startswith(free) and field not in _FIXED
        if not is_free and before[field] != after[field]:
            *most, last = (f"--config.{n}{'*' * n.endswith('.')}" for n in free)
            fixed = ", ".join(name.partition(".")[2] for name in _FIXED)
            raise ValueError(
                f"--config.{field}={after[field]} contradicts the model, which was "
                f"{maker} with {before[field]}; only {', '.join(most)} and {last} can "
                f"change, but for {fixed}."
            )

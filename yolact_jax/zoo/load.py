"""Loads a trained model: published, from a run, or from a file."""

import dataclasses
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from yolact_jax import build
from yolact_jax.config import Config, from_config_dict
from yolact_jax.data.pixels import Pixels
from yolact_jax.results.predictor import Predictor
from yolact_jax.run.array_digest import describe, require_same_shapes
from yolact_jax.run.folder import Run, load_run
from yolact_jax.run.variables import choose_step, load_variables
from yolact_jax.weights.hub import find_weights
from yolact_jax.zoo.exported import is_exported, load_exported
from yolact_jax.zoo.pretrained import abstract_variables, load_pretrained
from yolact_jax.zoo.specs import load_config, spec_of_weights


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A trained model in parts.

    Attributes:
      run: its config and classes.
      variables: parameters and batch statistics, on the host.
      step: updates done; 0 if not known.
    """

    run: Run
    variables: dict
    step: int = 0


def load(
    what: str | Path,
    *,
    step: int | str = "latest",
    config: Any = None,
    nms: str | None = None,
    class_agnostic: bool | None = None,
    class_names: str | None = None,
) -> Predictor:
    """Loads a trained model to predict with.

    Reads only what predicting needs; compiles at the first prediction.

        >>> import yolact_jax
        >>> model = yolact_jax.load(run, step="best")
        >>> model.predict("photo.jpg").names

    Args:
      what: a published name such as "yolact_base", whose weights are downloaded once;
        the folder of a run; a ``.safetensors`` or ``.pth`` file; or a ``.stablehlo``
        or ``.onnx`` file, which takes no other argument.
      step: which checkpoint of a run: "latest", "best" (highest mask AP on the
        validation split) or its number.
      config: the model of a file: a name, the path of a config file, or what its
        ``get_config()`` returns.  Published files need none.
      nms: kind of NMS instead of that of the config, see docs/nms.md.
      class_agnostic: whether NMS lets objects of different classes suppress each other,
        instead of the config.
      class_names: of a file that does not name its classes: a text file with one a
        line, or the names separated by commas.

    Raises:
      ValueError: if there is no such model, it cannot be downloaded or read, or an
        argument does not fit it.
    """
    if is_exported(what):
        given = {
            "step": step != "latest",
            "config": config is not None,
            "nms": nms is not None,
            "class_agnostic": class_agnostic is not None,
            "class_names": class_names is not None,
        }
        for name in given:
            if given[name]:
                raise ValueError(
                    f"`{name}` has no effect on {what}, which was exported as it is."
                )
        return load_exported(what)
    return make_predictor(
        load_parts(what, step=step, config=config, class_names=class_names),
        nms=nms,
        class_agnostic=class_agnostic,
    )


def load_parts(
    what: str | Path,
    *,
    step: int | str | None = None,
    config: Any = None,
    class_names: str | None = None,
) -> Loaded:
    """Loads a trained model without making a predictor; arguments as for `load`."""
    if Path(what).is_dir():
        if config is not None:
            raise ValueError(f"`config` is not needed: the run {what} has its own.")
        if class_names is not None:
            raise ValueError(
                f"`class_names` is not needed: the run {what} has its own."
            )
        run = load_run(what)
        chosen = choose_step(what, step)
        return Loaded(run, load_variables(what, chosen), chosen)
    if step not in (None, "latest"):
        raise ValueError(
            f"`step` is {step!r}, but {what} is no folder of a run with checkpoints."
        )
    path = find_weights(str(what))
    return Loaded(*load_pretrained(_config_for(path, config), str(path), class_names))


def require_fit(run: Run, variables: dict) -> None:
    """Refuses variables that are not of the model of a config; raises ValueError."""
    wanted = abstract_variables(run.config, len(run.class_names))
    require_same_shapes(describe(variables), describe(wanted), "The checkpoint")


def make_predictor(
    loaded: Loaded, *, nms: str | None = None, class_agnostic: bool | None = None
) -> Predictor:
    """Makes a predictor from a loaded model; arguments as for `load`."""
    run = loaded.run
    changes = {"eval.nms": nms, "eval.class_agnostic": class_agnostic}
    config = run.config.replace({k: v for k, v in changes.items() if v is not None})
    num_classes = len(run.class_names)

    def make_engine():
        # Here and not in `load`: describing a model takes as long as loading it.
        require_fit(run, loaded.variables)
        return build.make_engine(config, loaded.variables, num_classes)

    pixels = Pixels.of(config.data)
    return Predictor(make_engine, run.class_names, run.category_ids, pixels)


def _config_for(path: Path, config: Any) -> Config:
    """Returns the config of a file of weights; published ones are known by name."""
    if isinstance(config, Config):
        return config
    if isinstance(config, ConfigDict):
        return from_config_dict(config)
    if config is not None:
        return from_config_dict(load_config(str(config)))
    known = spec_of_weights(path)
    if known is None:
        raise ValueError(
            f"`config` must be given for {path}: the file does not say which model it "
            f"is for; give a name such as 'yolact_base', or the path of a config file."
        )
    return known

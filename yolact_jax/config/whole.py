"""The whole config, typed, and its conversion from and to a ConfigDict."""

import dataclasses
import difflib
from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict, FieldReference

from yolact_jax.config import checks
from yolact_jax.config.data import Augment, Data
from yolact_jax.config.fields import Section, shown, takes_several_types
from yolact_jax.config.network import Anchors, Loss, Model
from yolact_jax.config.training import Eval, Optimizer, Train


@dataclasses.dataclass(frozen=True)
class Config:
    """All that a model, its training and its evaluation depend on.

    Every config that exists is valid: each field is checked, and the fields against
    each other.  The defaults are those of ``configs/coco.py``.

        >>> Config(train=Train(batch_size=4)).replace({"model.backbone": "resnet50"})

    Raises:
      ValueError: naming the field, what came and what is allowed.
    """

    data: Data = dataclasses.field(default_factory=Data)
    augment: Augment = dataclasses.field(default_factory=Augment)
    model: Model = dataclasses.field(default_factory=Model)
    anchors: Anchors = dataclasses.field(default_factory=Anchors)
    loss: Loss = dataclasses.field(default_factory=Loss)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    train: Train = dataclasses.field(default_factory=Train)
    eval: Eval = dataclasses.field(default_factory=Eval)

    def __post_init__(self) -> None:
        checks.check_data(self.data)
        checks.check_aspect(self.data, self.augment)
        checks.check_model(self.data, self.model, self.train)
        checks.check_anchors(self.anchors)
        checks.check_loss(self.loss)
        checks.check_optimizer(self.optimizer)
        checks.check_length(self.optimizer, self.train)
        checks.check_negatives(self.loss, self.train)
        checks.check_freezing(self.model, self.train)
        checks.check_batch(self.train, num_devices=1)

    def replace(self, changes: Mapping[str, Any]) -> "Config":
        """Returns a config with other values for fields such as "train.batch_size".

        All changes take effect at once; this config stays as it is.

        Raises:
          ValueError: if there is no such field, or its value is not allowed.
        """
        values: dict[str, dict[str, Any]] = dataclasses.asdict(self)
        for name, value in changes.items():
            section, _, field = name.partition(".")
            values.setdefault(section, {})[field] = value
        return from_config_dict(values)

    def flat(self) -> dict[str, Any]:
        """Returns all fields in order, "train.batch_size" -> value."""
        return {
            f"{section}.{name}": value
            for section, fields in dataclasses.asdict(self).items()
            for name, value in fields.items()
        }


def from_config_dict(values: ConfigDict | Mapping[str, Any]) -> Config:
    """Turns what a user wrote, or what a run saved as JSON, into a config.

    `values` holds section -> field -> value; a missing field has its default.

    Raises:
      ValueError: if a section or field is unknown or a value is not allowed.
    """
    plain = values.to_dict() if isinstance(values, ConfigDict) else values
    types: dict[str, Any] = {f.name: f.type for f in dataclasses.fields(Config)}
    _refuse_unknown("", plain, types)
    return Config(**{name: _section(types[name], name, plain[name]) for name in plain})


def to_config_dict(config: Config) -> ConfigDict:
    """Returns a copy for `--config` and its overrides on the command line."""
    values = dataclasses.asdict(config)
    for name, section in values.items():
        declared = dataclasses.fields(getattr(config, name))
        for field in filter(takes_several_types, declared):
            # Else a ConfigDict would take values of the present type only.
            section[field.name] = FieldReference(section[field.name], object)
    return ConfigDict(values)


def suggestion(name: str, known: Collection[str]) -> str:
    """Ends a sentence about an unknown name with the likely one, or with all."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}."


def _section(kind: type[Section], name: str, values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise ValueError(f"config.{name} is {shown(values)}; it must be a section.")
    known = [field.name for field in dataclasses.fields(kind)]
    _refuse_unknown(f"{name}.", values, known)
    return kind(**values)


def _refuse_unknown(
    prefix: str, given: Collection[str], known: Collection[str]
) -> None:
    for name in given:
        if name not in known:
            raise ValueError(
                f"The config has an unknown field config.{prefix}{name:.80}: "
                f"{suggestion(name, known)}"
            )

"""How a field of the config is declared, and how its value is checked."""

import dataclasses
import math
import numbers
import types
from collections.abc import Iterator
from typing import Any, TypeVar, cast, get_args, get_origin

_T = TypeVar("_T")
_MOST = {int: 2**31 - 1, float: 1e9}
_KINDS = {bool: "True or False", int: "an integer", float: "a number", str: "a string"}
_LONGEST = 200  # letters of a value in a sentence
_PLURALS = {int: "integers", float: "numbers", str: "strings"}


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a field allows and means.

    Attributes:
      meaning: one line.
      unit: of the numbers, or "".
      least: smallest number allowed, if not `above`.
      above: number that all allowed ones exceed, or None.
      most: largest number allowed, if not `below`; None: that of the type.
      below: number that all allowed ones stay below, or None.
      choices: the strings allowed; () allows all.
      length: of the tuple, where one is given; None for any.
    """

    meaning: str
    unit: str = ""
    least: float = 0
    above: float | None = None
    most: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    length: int | None = None


def field(default: _T, meaning: str, **rule: Any) -> _T:
    """Declares a field of a section: ``name: int = field(8, "What it is.", above=0)``.

    Args:
      default: the value where none is given.
      meaning: one line.
      **rule: the other attributes of `Rule`.
    """
    metadata = {"rule": Rule(meaning, **rule)}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Section:
    """Checks every field; a subclass is named like its section.

    Raises:
      ValueError: naming the field, what came and what is allowed.
    """

    def __post_init__(self) -> None:
        section = type(self).__name__.lower()
        for declared in dataclasses.fields(self):
            name, value = declared.name, getattr(self, declared.name)
            value = checked(declared, value, f"{section}.{name}")
            object.__setattr__(self, name, value)


def rule_of(declared: dataclasses.Field) -> Rule:
    """Returns the rule of a field made by `field`."""
    return declared.metadata["rule"]


def checked(declared: dataclasses.Field, value: Any, name: str) -> Any:
    """Converts a value to the type of its field: integers to floats, lists to tuples.

    Args:
      declared: the field.
      value: what came.
      name: of the field, for the message.

    Raises:
      ValueError: if it has another type or is out of range.
    """
    rule, kind = rule_of(declared), _leaf(declared.type)
    try:
        converted = _convert(value, declared.type)
    except (TypeError, OverflowError):
        converted = None
    if (
        converted is None
        or not all(_in_range(leaf, rule, kind) for leaf in _leaves(converted))
        or not _has_length(converted, rule)
    ):
        allowed = describe_allowed(declared)
        raise ValueError(f"config.{name} is {shown(value)}; it must be {allowed}.")
    return converted


def shown(value: Any) -> str:
    """Spells a value of any kind in so many letters as fit a sentence."""
    try:
        text = ascii(value) if isinstance(value, str) else repr(value)
    except (RecursionError, ValueError):  # Nested too deeply, too many digits.
        return f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def describe_allowed(declared: dataclasses.Field) -> str:
    """Says which values a field takes, such as "an integer greater than 0"."""
    rule, kind = rule_of(declared), _leaf(declared.type)
    if rule.choices:
        return f"one of {rule.choices}"
    if kind not in _MOST:
        return _KINDS[kind] if declared.type is kind else f"a tuple of {_PLURALS[kind]}"
    bounds = _describe_range(rule, kind) + f" {rule.unit}".rstrip()
    if declared.type is kind:
        return f"{_KINDS[kind]} {bounds}"
    if _is_union(declared.type):
        several = f"a tuple of {rule.length} such {_PLURALS[kind]}"
        return f"{_KINDS[kind]} {bounds}, or {several}"
    nested = get_origin(get_args(declared.type)[0]) is tuple
    outer = "a tuple" if rule.length is None else f"{rule.length} tuples"
    if nested:
        return f"{outer} of equal length, of {_PLURALS[kind]} {bounds}"
    return f"{outer} of {_PLURALS[kind]}, each {bounds}"


def name_of_type(declared: dataclasses.Field) -> str:
    """Names the type of a field, such as ``tuple[int, ...]``."""
    kind = declared.type
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _describe_range(rule: Rule, kind: type) -> str:
    most = _MOST[kind] if rule.most is None else rule.most
    if rule.above is not None:
        lower = f"greater than {rule.above}"
    elif (rule.least, rule.most) == (0, 1):
        return "between 0 and 1"
    elif rule.least == 0:
        lower = "0 or more" if rule.below is not None else "0 or greater"
    else:
        lower = f"of at least {rule.least}"
    upper = f"at most {most:,.12g}" if rule.below is None else f"below {rule.below}"
    return f"{lower}, and {upper}"


def _leaf(kind: Any) -> type:
    """Type of the values inside nested tuples."""
    return _leaf(get_args(kind)[0]) if get_args(kind) else kind


def _is_union(kind: Any) -> bool:
    """Whether a field takes a number or a tuple of numbers."""
    return get_origin(kind) is types.UnionType


def takes_several_types(declared: dataclasses.Field) -> bool:
    """Whether a field takes a number as well as a tuple of them."""
    return _is_union(declared.type)


def _has_length(value: Any, rule: Rule) -> bool:
    return not (rule.length and isinstance(value, tuple)) or len(value) == rule.length


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _convert(value: Any, kind: Any) -> Any:
    if _is_union(kind):
        single, several = get_args(kind)
        return _convert(value, several if isinstance(value, tuple | list) else single)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple | list):
            raise TypeError
        return tuple(_convert(item, get_args(kind)[0]) for item in value)
    if kind in (bool, str) or isinstance(value, bool):
        if type(value) is not kind:
            raise TypeError
        return value
    abstract = numbers.Integral if kind is int else numbers.Real
    if not isinstance(value, abstract):
        raise TypeError
    return kind(cast("Any", value))


def _in_range(leaf: Any, rule: Rule, kind: type) -> bool:
    if kind is bool:
        return True
    if kind is str:
        return not rule.choices or leaf in rule.choices
    most = _MOST[kind] if rule.most is None else rule.most
    above = leaf >= rule.least if rule.above is None else leaf > rule.above
    below = leaf <= most if rule.below is None else leaf < rule.below
    return above and below and (kind is int or math.isfinite(leaf))

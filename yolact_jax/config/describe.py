"""The config as text."""

import dataclasses
import textwrap
from collections.abc import Iterator

from yolact_jax.config.fields import Section, describe_allowed, name_of_type, rule_of
from yolact_jax.config.whole import Config

_WIDTH = 88


def describe(config: Config) -> str:
    """Lists every field with its value, type, range, unit and meaning.

    Values are those of `config`; where one differs from the default, both are shown.
    Lines have at most 88 columns, if the values allow.
    """
    lines: list[str] = []
    for section in dataclasses.fields(config):
        values: Section = getattr(config, section.name)
        lines += [f"config.{section.name}: {(values.__doc__ or '').strip()}"]
        lines += _describe_fields(values)
    return "\n".join(lines)


def _describe_fields(values: Section) -> Iterator[str]:
    fields = dataclasses.fields(values)
    width = max(len(field.name) for field in fields)
    for field in fields:
        value = getattr(values, field.name)
        default = "" if value == field.default else f"  (default {field.default!r})"
        yield f"  {field.name:<{width}} = {value!r}{default}"
        text = (
            f"{rule_of(field).meaning}  "
            f"[{name_of_type(field)}: {describe_allowed(field)}]"
        )
        indent = " " * (width + 5)
        yield from textwrap.wrap(
            text, _WIDTH, initial_indent=indent, subsequent_indent=indent
        )

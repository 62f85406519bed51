"""What all commands share: flags, the config, logging, and errors in one sentence."""

import dataclasses
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
from absl import flags
from absl import logging as absl_logging
from ml_collections import ConfigDict, config_flags

from yolact_jax.config import from_config_dict, grown_scales

FORESEEN = (
    ValueError,
    OSError,
    OverflowError,
    RecursionError,
    MemoryError,
    jax.errors.JaxRuntimeError,
)
"""Errors of a wrong file, disk, machine or value: no traceback for these."""

_LOGGER = logging.getLogger(__name__)

CHOOSING = ("config", "workdir", "weights", "data")
"""Flags that say which config a command works with."""


class Ended(Exception):
    """Ends a command with a message of its own.

    Attributes:
      exit_status: of the process.
    """

    def __init__(self, message: str, exit_status: int = 1):
        super().__init__(message)
        self.exit_status = exit_status


@dataclasses.dataclass(frozen=True)
class Command:
    """One command of the command line.

    Attributes:
      name: as the user types it.
      doc: what ``--help`` prints above the flags; the first line is its summary.
      define_flags: defines the flags.
      run: does the work with the parsed flags; returns the exit status, None for 0.
      find_config: for commands with ``--config``: takes the values of the flags
        `CHOOSING` that were given, and returns the config that the
        ``--config.section.field`` flags change, or None if there is none.
      argument: the flag whose value may come first without its name, if any.
    """

    name: str
    doc: str | None
    define_flags: Callable[[flags.FlagValues], Any]
    run: Callable[[Any], int | None]
    find_config: Callable[[dict[str, str]], ConfigDict | None] | None = None
    argument: str | None = None


def execute(command: Command, arguments: Sequence[str], program: str) -> int:
    """Runs a command; a foreseeable error becomes one sentence on stderr.

    Args:
      command: what to run.
      arguments: the command line after the name of the command.
      program: how error messages start.

    Returns:
      The exit status: 0, 1 for an error, 128 plus the number of a signal.
    """
    start_logging()
    try:
        values = parse(command, arguments)
        if values is None:
            return 0
        return command.run(values) or 0
    except Ended as ended:
        print(f"{program}: {ended}", file=sys.stderr)
        return ended.exit_status
    except KeyboardInterrupt:
        print(f"{program}: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of the output is gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (*FORESEEN, flags.Error) as error:
        print(f"{program}: {in_words(error)}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        # JAX has no type of its own for a backend that is missing.
        if "backend" not in str(error):
            raise
        print(f"{program}: {in_words(error)}", file=sys.stderr)
        return 1


def in_words(error: Exception) -> str:
    """Says what is wrong, with which file, for the terminal."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        # The second is the target of a rename, which the user knows.
        name = error.filename if error.filename2 is None else error.filename2
        return f"{os.fsdecode(name)}: {error.strerror}."
    if isinstance(error, MemoryError):
        return f"not enough memory. {error}".rstrip()
    if isinstance(error, RecursionError):
        return "the input is nested too deeply."
    if isinstance(error, RuntimeError):
        return " ".join(str(error).split())[:400]
    # The words of other libraries repeat a value whole, however long.
    return re.sub(r"\S{300,}", lambda word: f"{word.group()[:100]}...", str(error))


def parse(command: Command, arguments: Sequence[str]) -> Any:
    """Parses the flags of a command, from the words after its name.

    Returns:
      An object with the value of each flag as an attribute, ``config`` among them for
      commands that have one; None if the user asked for help, which is printed.

    Raises:
      ValueError: naming the first flag that is unknown or has a wrong value.
    """
    values = flags.FlagValues()
    command.define_flags(values)
    if {"--help", "-h", "-help"} & set(arguments):
        print(f"{(command.doc or '').strip()}\n\nFlags:\n{values.get_help()}")
        return None
    words, config, size_before = list(arguments), None, (0, 0)
    if command.argument and words and not words[0].startswith("-"):
        words[0] = f"--{command.argument}={words[0]}"
    if command.find_config:
        taken = {name: _take(words, name) for name in CHOOSING}
        words = taken["config"][1]
        given = {name: value for name, (value, _) in taken.items() if value is not None}
        config = command.find_config(given)
        if config is not None:
            size_before = from_config_dict(config).data.frame.size
            _define_config(values, config, words)
        else:
            flags.DEFINE_string("config", None, "", flag_values=values)
            _refuse_overrides(words)
    rest = values([command.name, *words])[1:]
    if config is not None:
        _scale_anchors(values.config, size_before, words)
    if rest:
        raise ValueError(f"unknown argument {rest[0]}; flags start with --.")
    # Loader processes read absl's own flags.
    flags.FLAGS.mark_as_parsed()
    return values


def _take(words: list[str], name: str) -> tuple[str | None, list[str]]:
    """Takes ``--name value`` or ``--name=value`` out of a command line."""
    rest, value = [], None
    stream = iter(words)
    for word in stream:
        flag, equals, given = word.partition("=")
        if word.startswith("-") and flag.lstrip("-") == name:
            value = given if equals else next(stream, "")
        else:
            rest.append(word)
    return value, rest


def _define_config(
    values: flags.FlagValues, config: ConfigDict, words: list[str]
) -> None:
    """Defines ``--config.section.field`` for the fields that the words set."""
    try:
        config_flags.DEFINE_config_dict(
            "config", config, flag_values=values, sys_argv=["", *words]
        )
    except (AttributeError, KeyError) as error:
        # ml_collections may wrap its own KeyError, which has the helpful text.
        while error.args and isinstance(error.args[0], Exception):
            error = error.args[0]
        hint = " ".join(str(error.args[0] if error.args else error).split())
        raise ValueError(f"the config has no such field: {hint}") from None
    # A field of several types is parsed as a literal, which need not be a bool.
    for name, value in from_config_dict(config).flat().items():
        if f"config.{name}" in values and not isinstance(value, bool):
            values[f"config.{name}"].boolean = False


def _scale_anchors(
    config: ConfigDict, size_before: tuple[int, int], words: list[str]
) -> None:
    """Lets areas of anchors grow with that of the input, unless they are given."""
    size = from_config_dict(config).data.frame.size
    is_given = any("config.anchors.scales_px" in word for word in words)
    if size == size_before or is_given:
        return
    scales = from_config_dict(config).anchors.scales_px
    grown = grown_scales(scales, size_before, size)
    with config.unlocked():
        anchors = cast("ConfigDict", config.get("anchors", ConfigDict()))
        config.anchors = {**anchors, "scales_px": grown}
    _LOGGER.info("Anchors for %s pixels instead of %s: %s.", size, size_before, grown)


def _refuse_overrides(words: Sequence[str]) -> None:
    for word in words:
        if word.lstrip("-").startswith("config."):
            raise ValueError(
                f"{word.partition('=')[0]} needs --config, a name or a file, or "
                f"--workdir, the folder of a run."
            )


def start_logging(*, quiet: bool = False) -> None:
    """Shows messages of this package on stdout, and of libraries only warnings.

    With `quiet`, this package too shows only warnings.
    """
    absl_logging.set_verbosity(absl_logging.WARNING)
    # Not on a handler, as libraries add their own.
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(_is_worth_showing)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _show_unraisable
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("yolact_jax")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Hides the tracebacks of failed saves, which the commands report in a sentence."""
    is_of_save = record.name == "asyncio" or "/orbax/" in record.pathname
    return not (is_of_save and record.levelno >= logging.ERROR)


def _show_unraisable(unraisable: Any) -> None:
    """Hides what a failed save leaves to the garbage collector; shows the rest."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def require_device() -> None:
    """Starts JAX on its device; call before anything is written.

    Raises:
      ValueError: if there is no device of the platform that is asked for.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX has no type of its own.
        reason = " ".join(str(error).split())[:300] or "it is not installed or has none"
        name = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(
            f"JAX finds no device of the platform {name}, which JAX_PLATFORMS sets "
            f"({reason})."
        ) from error

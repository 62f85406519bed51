"""What every command does before its work: logging, flags, kept programs."""

import logging
import os
import sys
from pathlib import Path

import jax
from absl import app
from absl import logging as absl_logging


def start_logging(*, quiet: bool = False) -> None:
    """Shows this package's messages on stdout, and only warnings of the libraries.

    Args:
      quiet: only warnings of this package, too.
    """
    absl_logging.set_verbosity(absl_logging.WARNING)
    absl_logging.get_absl_handler().addFilter(_is_worth_showing)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("yolact_jax")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Leaves out the tracebacks of failed saves, which the scripts put into words."""
    is_of_save = record.name == "asyncio" or "/orbax/" in record.pathname
    return not (is_of_save and record.levelno >= logging.ERROR)


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line, explaining an override of a field that is not there.

    Args:
      argv: the command line, the program first.

    Returns:
      The arguments that are no flags, the program first.
    """
    program = Path(argv[0]).name
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        flag, _, value = argument.lstrip("-").partition("=")
        path = (value or following).partition(":")[0]
        if argument.startswith("-") and flag == "config" and not Path(path).is_file():
            sys.exit(f"{program}: the config file {path} does not exist.")
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError) as error:
        # ml_collections may wrap its own KeyError, which has the helpful text.
        while error.args and isinstance(error.args[0], Exception):
            error = error.args[0]
        hint = " ".join(str(error.args[0] if error.args else error).split())
        sys.exit(f"{program}: the config has no such field: {hint}")


def keep_compiled_programs() -> None:
    """Turns JAX's persistent compilation cache on, unless it is set up already.

    The folder is ``yolact_jax/xla`` in the user's cache folder, ``$XDG_CACHE_HOME`` or
    ``~/.cache``.  JAX's own settings win: ``JAX_COMPILATION_CACHE_DIR`` names another
    folder, ``JAX_ENABLE_COMPILATION_CACHE=false`` turns it off.
    """
    if jax.config.jax_compilation_cache_dir is None:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(root) / "yolact_jax" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))

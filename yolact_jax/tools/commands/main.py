"""The console command ``yolact-jax`` and the scripts of the repository."""

import ast
import importlib
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from yolact_jax.tools.commands import large_pages

if TYPE_CHECKING:
    from yolact_jax.cli import Command

NAMES = (
    "train",
    "evaluate",
    "report",
    "inspect",
    "predict",
    "demo",
    "export",
    "convert",
    "doctor",
    "show",
    "anchors",
    "plan",
    "replay",
    "config",
)


def main(arguments: Sequence[str] | None = None, program: str | None = None) -> int:
    """Runs the command that the first argument names, and returns the exit status.

    Args:
      arguments: the command line without the program; that of the process if None.
      program: how error messages start; "yolact-jax NAME" if None.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    name, *rest = arguments or ["--help"]
    if name in ("--version", "version"):
        print(importlib.import_module("yolact_jax").__version__)
        return 0
    if name in ("--help", "-h", "help"):
        print(_usage())
        return 0
    if name not in NAMES:
        print(f"yolact-jax: there is no command {name}.\n\n{_usage()}", file=sys.stderr)
        return 1
    program = program or f"yolact-jax {name}"
    try:
        # Imported late: each command imports what it needs only.
        from yolact_jax import cli

        return cli.execute(command_of(name), rest, program)
    except KeyboardInterrupt:  # While importing.
        print(f"{program}: interrupted.", file=sys.stderr)
        return 130


def command_of(name: str) -> "Command":
    """Imports one of the commands `NAMES`."""
    return importlib.import_module(_module(name)).COMMAND


def run_console() -> int:
    """Runs the console command ``yolact-jax``, and returns the exit status."""
    large_pages.start_again_with_them()
    return main()


def run_script(path: str) -> None:
    """Runs the command that a script such as ``train.py`` is named after, and exits."""
    large_pages.start_again_with_them()
    script = pathlib.Path(path)
    sys.exit(main([script.stem, *sys.argv[1:]], program=script.name))


def _module(name: str) -> str:
    return f"{__package__}.{name}"


def _usage() -> str:
    summaries = "\n".join(f"  {name:<10}{_summary(name)}" for name in NAMES)
    return (
        f"Usage: yolact-jax COMMAND [--flag=value ...]\n\n{summaries}\n\n"
        f"yolact-jax COMMAND --help explains a command and lists its flags."
    )


def _summary(name: str) -> str:
    """Reads the first line of a command's docstring, without importing it."""
    source = pathlib.Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

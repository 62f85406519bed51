"""Runs a command as a user does, in a process of its own."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
_MAIN = "import sys; from yolact_jax.tools.commands.main import main; sys.exit(main())"


def run_command(*words, **options) -> subprocess.CompletedProcess:
    """The process, with its output as text; options are those of `subprocess.run`."""
    return subprocess.run(
        [sys.executable, "-c", _MAIN, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        **{"cwd": ROOT, **options},
    )

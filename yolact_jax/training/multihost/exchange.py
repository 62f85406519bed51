"""Values passed between processes through files in the folder of their run."""

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from yolact_jax.files import write_json
from yolact_jax.training.multihost.processes import on_all_processes, on_first_process

EXCHANGE_FOLDER = ".exchange"


def gather(value: Any, workdir: str | Path) -> list | None:
    """Collects in process 0 the values that the processes call this with.

    Args:
      value: what JSON can hold.
      workdir: folder of the run, which all processes see.

    Returns:
      The values in the order of processes; None in the other processes.

    Raises:
      OtherProcessError: if another process could not write its value.
    """
    if jax.process_count() == 1:
        return [value]
    shared = _agree_on_folder(workdir)
    on_all_processes(write_json, shared / f"{jax.process_index()}.json", value)
    paths = [shared / f"{index}.json" for index in range(jax.process_count())]
    values = on_first_process(lambda: [*map(_read, paths)])
    on_first_process(shutil.rmtree, shared.parent)
    return values


def value_of_first_process(value: Any, workdir: str | Path) -> Any:
    """Returns, in every process, the value that process 0 calls this with.

    Values and errors are as for `gather`.
    """
    if jax.process_count() == 1:
        return value
    shared = _agree_on_folder(workdir)
    on_first_process(write_json, shared / "0.json", value)
    value = on_all_processes(_read, shared / "0.json")
    on_first_process(shutil.rmtree, shared.parent)
    return value


def _agree_on_folder(workdir: str | Path) -> Path:
    """Returns a folder that no process of an earlier run writes to."""
    on_all_processes(lambda: None)  # A broadcast gives up where one comes late.
    token = multihost_utils.broadcast_one_to_all(np.uint32(secrets.randbits(32)))
    return Path(workdir) / EXCHANGE_FOLDER / f"{int(token):08x}"


def _read(path: Path) -> Any:
    return json.loads(path.read_text())

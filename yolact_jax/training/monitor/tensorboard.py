"""TensorBoard files, if tensorboardX is installed."""

import importlib.util
from pathlib import Path
from typing import Any

TENSORBOARD_FOLDER = "tensorboard"


def open_writer(workdir: str | Path, choice: str, start_step: int) -> Any:
    """Opens the event file of a run.

    Args:
      workdir: folder of the run.
      choice: "yes", "no", or "auto" for yes if tensorboardX is installed.
      start_step: steps done; TensorBoard hides later rows of an earlier start.

    Returns:
      A `tensorboardX.SummaryWriter`, or None.

    Raises:
      ValueError: if it is asked for and not installed.
    """
    installed = importlib.util.find_spec("tensorboardX") is not None
    if choice == "no" or (choice == "auto" and not installed):
        return None
    if not installed:
        raise ValueError(
            "config.train.tensorboard is 'yes', which needs tensorboardX: "
            "pip install 'yolact_jax[tensorboard]', or set it to 'no'."
        )
    import tensorboardX

    return tensorboardX.SummaryWriter(
        str(Path(workdir) / TENSORBOARD_FOLDER),
        purge_step=start_step + 1 if start_step else None,
        flush_secs=10,
    )


def write_row(writer: Any, row: dict[str, float | None]) -> None:
    """Writes a row of ``metrics.jsonl``; does nothing if the writer is None."""
    if writer is None:
        return
    for name, value in row.items():
        if name != "step" and value is not None:
            writer.add_scalar(name, value, row["step"])

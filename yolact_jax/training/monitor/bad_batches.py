"""Batches whose loss or gradient was not finite: saved, counted, limited."""

import logging
from pathlib import Path

import numpy as np

from yolact_jax.cli import Ended
from yolact_jax.files import replacing
from yolact_jax.run.variables import read_npz

_LOGGER = logging.getLogger(__name__)
BAD_BATCHES_FOLDER = "bad_batches"
_MAX_FILES = 20
_TERM_PREFIX = "term:"
_DEFLATE_RATIO = 1032  # The most that it reaches.


class DivergedError(Ended):
    """Too many updates in a row were not finite."""


class BadBatches:
    """Saves the batches of skipped updates, and ends a run that only skips.

    `notes` are those of a resumed run; `limit` skipped updates in a row end the run.

    Attributes:
      in_a_row: skipped updates since the last good one.
      total: skipped updates of the whole run.
    """

    def __init__(
        self,
        workdir: str | Path,
        *,
        limit: int,
        seed: int,
        notes: dict,
        saves: bool = True,
    ):
        self._saves = saves
        self._workdir, self._limit, self._seed = Path(workdir), limit, seed
        self.in_a_row = notes.get("in_a_row", 0)
        self.total = notes.get("total", 0)

    def notes(self) -> dict[str, int]:
        """The counts, to be saved with the state."""
        return {"in_a_row": self.in_a_row, "total": self.total}

    def note(
        self, step: int, values: dict[str, float], batch: dict[str, np.ndarray]
    ) -> None:
        """Counts and saves the batch of a step that was skipped; ignores a good step.

        Args:
          step: the step, counted from 1.
          values: its metrics, see `step.values_of`.
          batch: what it trained on, from the input pipeline.

        Raises:
          DivergedError: if this was one too many in a row.
        """
        if not values["train/skipped"]:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        self.total += 1
        saved = self._save(step, values, batch)
        _LOGGER.warning(
            "step %d SKIPPED, %d in a row: %s not finite; images %s%s",
            step,
            self.in_a_row,
            ", ".join(n for n, value in values.items() if not np.isfinite(value)),
            batch["image_ids"].tolist(),
            f"; saved as {saved}" if saved else "",
        )
        if self.in_a_row >= self._limit:
            raise DivergedError(
                f"the last {self.in_a_row} updates, up to step {step}, were skipped: "
                f"loss or gradient was not finite (config.train.max_bad_steps is "
                f"{self._limit}). To see why: yolact-jax replay "
                f"--workdir {self._workdir} --step {step - self.in_a_row + 1}. A "
                f"lower config.optimizer.learning_rate or a config.optimizer.clip_norm "
                f"may help; the same command continues from the last checkpoint."
            )

    def _save(self, step: int, values: dict, batch: dict) -> Path | None:
        folder = self._workdir / BAD_BATCHES_FOLDER
        path = folder / f"{step}.npz"
        others = set(saved_steps(self._workdir)) - {step}
        if not self._saves or len(others) >= _MAX_FILES:
            return None
        terms = {f"{_TERM_PREFIX}{name}": value for name, value in values.items()}
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, step=step, seed=self._seed, **terms, **batch)
        return path


def saved_steps(workdir: str | Path) -> list[int]:
    """Lists the steps whose batches were saved, in order."""
    folder = Path(workdir) / BAD_BATCHES_FOLDER
    names = (path.stem for path in folder.glob("*.npz"))
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def forget_after(workdir: str | Path, step: int) -> None:
    """Removes the batches that a stopped run saved after the step it resumes from."""
    later = [saved for saved in saved_steps(workdir) if saved > step]
    for saved in later:
        (Path(workdir) / BAD_BATCHES_FOLDER / f"{saved}.npz").unlink(missing_ok=True)
    if later:
        _LOGGER.info("Removed %d bad batches after step %d.", len(later), step)


def load_bad_batch(
    workdir: str | Path, step: int, *, seed: int | None = None
) -> tuple[dict[str, np.ndarray], dict[str, float]] | None:
    """Reads the batch of a skipped update, `step` counted from 1.

    Returns:
      The batch as from the input pipeline and the metrics of the step, or None if the
      batch was not saved.

    Raises:
      ValueError: if the file is damaged, or of a run with another `seed`.
    """
    path = Path(workdir) / BAD_BATCHES_FOLDER / f"{step}.npz"
    if not path.is_file():
        return None
    arrays = read_npz(path, str(path), ratio=_DEFLATE_RATIO)
    saved = arrays.get("seed", np.nan)
    if seed is not None and not np.array_equal(saved, seed):
        raise ValueError(
            f"{path} is of a run with config.train.seed {saved}, not {seed} as in this "
            f"folder; remove the file, and the batch of the step is made again."
        )
    names = [name for name in arrays if name not in ("step", "seed")]
    batch = {n: arrays[n] for n in names if not n.startswith(_TERM_PREFIX)}
    values = {
        n.removeprefix(_TERM_PREFIX): float(arrays[n])
        for n in names
        if n.startswith(_TERM_PREFIX)
    }
    return batch, values

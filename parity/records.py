"""Reading of golden files, and rows of the report."""

import dataclasses
import zipfile
import zlib
from pathlib import Path

import numpy as np


class Arrays(dict):
    """The arrays of a file, which remembers those that were asked for.

    Args:
      path: an ``.npz`` file.

    Raises:
      ValueError: if the file is missing or damaged, or, later, lacks an array.
    """

    def __init__(self, path: Path):
        try:
            with np.load(path) as archive:
                super().__init__(archive)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} cannot be read: {error}.") from error
        self._path, self._used = path, set()

    def __getitem__(self, key):
        self._used.add(key)
        return super().__getitem__(key)

    def __missing__(self, key):
        raise ValueError(f"{self._path} has no array {key}.")

    def get(self, key, default=None):
        """Returns an array, or the default where there is none."""
        if key in self:
            return self[key]
        return default

    def unused(self) -> list[str]:
        """Names of the arrays that nothing was compared with."""
        used = {_base(key) for key in self._used}
        return sorted({_base(key) for key in self} - used)


def _base(key: str) -> str:
    return key.partition("__")[0]


def has(golden: dict, *names: str) -> bool:
    """Whether all of these arrays are on record."""
    return all(name in golden for name in names)


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
      stage: what was compared.
      error: largest error, in the unit of the tolerance.
      tolerance: what is allowed.
      unit: of both.
      noise: largest difference between the original in float32 and in float64, in the
        same unit; nan if not recorded.
    """

    stage: str
    error: float
    tolerance: float
    unit: str
    noise: float = float("nan")

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance; nan is not."""
        return bool(self.error <= self.tolerance)

    def __str__(self) -> str:
        """One line with aligned columns."""
        noise = "" if np.isnan(self.noise) else f"  (noise {self.noise:.1e})"
        verdict = "ok  " if self.ok else "FAIL"
        return (
            f"{verdict} {self.stage:<34} {self.error:9.2e} <= {self.tolerance:7.1e} "
            f"{self.unit}{noise}"
        )


def worst(rows: list[Row]) -> list[Row]:
    """Merges rows of the same stage into the one nearest to its tolerance."""
    found: dict[str, Row] = {}
    for row in rows:
        other = found.get(row.stage)
        if other is None or _badness(row) > _badness(other):
            found[row.stage] = row
    return list(found.values())


def _badness(row: Row) -> float:
    share = row.error / max(row.tolerance, 1e-30)
    return np.inf if np.isnan(share) else share


def stored_slice(golden: dict, name: str, full: np.ndarray) -> np.ndarray:
    """Cuts the stored slice out of a whole array.

    Raises:
      ValueError: if the array has another shape than the recorded one.
    """
    shape = tuple(golden.get(f"{name}__shape", golden[name].shape))
    if full.shape != shape:
        raise ValueError(f"{name} has shape {full.shape}; recorded was {shape}.")
    strides = golden.get(f"{name}__stride", np.ones(full.ndim, int))
    return full[tuple(slice(None, None, int(step)) for step in strides)]


def compare_scaled(golden, name, full, stage, tolerance) -> list[Row]:
    """Compares an array in units of the standard deviation of the recorded one.

    Returns:
      One row, or none if the array is not on record.
    """
    if name not in golden:
        return []
    got = stored_slice(golden, name, full)
    scale = _stats(golden, name)[1]
    error = np.max(np.abs(got - golden[name])) / scale
    # The moments cover what the slice leaves out, to a tenth of the tolerance.
    moments = _moment_error(golden, name, full)
    noise = float(golden.get(f"{name}__noise", np.nan)) / scale
    return [Row(stage, float(max(error, moments)), tolerance, "std", noise)]


def compare_absolute(golden, name, full, stage, tolerance, unit="") -> list[Row]:
    """Compares an array by the largest absolute difference.

    Returns:
      One row, or none if the array is not on record.
    """
    if name not in golden:
        return []
    error = np.max(np.abs(stored_slice(golden, name, full) - golden[name]), initial=0)
    noise = float(golden.get(f"{name}__noise", np.nan))
    return [Row(stage, float(error), tolerance, unit, noise)]


def _stats(golden, name) -> np.ndarray:
    if f"{name}__stats" in golden:
        return golden[f"{name}__stats"]
    values = golden[name].astype(np.float64)
    return np.array([values.mean(), values.std(), np.linalg.norm(values)])


def _moment_error(golden, name, full) -> float:
    """Error of mean, std and root mean square over the whole array, relative to std."""
    if f"{name}__stats" not in golden:
        return 0.0
    mean, std, norm = golden[f"{name}__stats"][:3]
    full = full.astype(np.float64)
    errors = (
        full.mean() - mean,
        full.std() - std,
        (np.linalg.norm(full) - norm) / np.sqrt(full.size),
    )
    return float(np.max(np.abs(errors)) / std)

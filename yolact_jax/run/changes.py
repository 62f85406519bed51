"""After which step of a run its fields were last changed, in ``changes.json``."""

import logging
from pathlib import Path

from yolact_jax.config import Config
from yolact_jax.files import read_json, write_json
from yolact_jax.run.folder import load_run

_LOGGER = logging.getLogger(__name__)
_FILE = "changes.json"
SAMPLE_FIELDS = (
    "augment.",
    *(f"data.{name}" for name in ("input_size", "resize", "max_objects")),
    *(f"data.{name}" for name in ("negatives", "mask_target")),
    *(f"train.{name}" for name in ("batch_size", "multi_scale", "seed")),
)
"""Fields, or sections, that say what a step sees."""


def note_changes(workdir: str | Path, config: Config, step: int) -> None:
    """Notes what a run that continues after `step` changes; a new one, 0, nothing."""
    path = Path(workdir) / _FILE
    if not step:
        return path.unlink(missing_ok=True)
    old, new = load_run(workdir).config.flat(), config.flat()
    noted = {field: min(since, step) for field, since in _read(path).items()}
    noted |= {field: step for field in new if old[field] != new[field]}
    if noted:
        write_json(path, noted, indent=2)


def require_unchanged(workdir: str | Path, step: int, fields: tuple[str, ...]) -> None:
    """Raises ValueError if a run had another value of a field at a step, from 1."""
    for field, since in _read(Path(workdir) / _FILE).items():
        if step <= since and field.startswith(fields):
            raise ValueError(
                f"Step {step} of {workdir} cannot be made again, as config.{field} was "
                f"changed after step {since}; it must be a later one."
            )


def _read(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    try:
        return {f: int(s) for f, s in read_json(path).items() if type(s) is int}
    except (ValueError, OSError) as error:
        _LOGGER.warning("%s; which steps can be made again is not known.", error)
        return {}

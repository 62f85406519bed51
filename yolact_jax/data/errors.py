"""The error that every dataset reader and builder raises for bad data."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

_MAX_SHOWN = 20
_T = TypeVar("_T")


class DatasetError(ValueError):
    """All problems found in a dataset, one sentence each.

    Attributes:
      problems: every problem, never empty; the message shows the first 20.
    """

    def __init__(self, problems: Sequence[str] | str):
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(_message(self.problems))

    def __reduce__(self):
        """Pickles by the problems: loader workers send their errors to the parent."""
        return DatasetError, (self.problems,)


def _message(problems: tuple[str, ...]) -> str:
    """Lists the first problems, and counts the others."""
    if len(problems) == 1:
        return problems[0]
    lines = [f"{len(problems)} problems in the dataset:"]
    lines += [f"  {problem}" for problem in problems[:_MAX_SHOWN]]
    if len(problems) > _MAX_SHOWN:
        lines.append(f"  and {len(problems) - _MAX_SHOWN} more")
    return "\n".join(lines)


def gathered(calls: Mapping[str, Callable[[], _T]]) -> dict[str, _T]:
    """Calls all functions; returns their results by name, or raises all their problems.

    Raises:
      DatasetError: with the problems of all that failed.
    """
    results, problems = {}, []
    for name, call in calls.items():
        try:
            results[name] = call()
        except DatasetError as error:
            problems += error.problems
    if problems:
        raise DatasetError(problems)
    return results

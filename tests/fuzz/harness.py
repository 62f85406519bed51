"""Uses many damaged and hostile inputs, and counts how they end.

    python -m tests.fuzz.harness COUNT [SEED]   a table of all targets

Each target runs in a process of its own, which may take so much more memory than it has
when it starts.  An input is accepted, refused in sentences, or a fault: any other
exception (also `AssertionError`, for what is accepted but not right), or the end of the
process.
"""

import collections
import json
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).parents[2]
MEGABYTES = 1000
_LONGEST = 2000


def limit_memory(megabytes: int = MEGABYTES) -> None:
    """Allows this process so much more than it has now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def run_target(name: str, count: int, seed: int = 0) -> dict:
    """Runs a target in another process.

    Returns:
      Numbers of "accepted", "refused" and "faults", the "seconds", and "told": the
      first faults in words.
    """
    command = [sys.executable, "-m", "tests.fuzz.harness", "--in-here", name]
    started = time.monotonic()
    result = subprocess.run(
        [*command, str(count), str(seed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(result.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        found = {"accepted": 0, "refused": 0, "faults": 1}
        found["told"] = [f"exit status {result.returncode}: {result.stderr[-3000:]}"]
    return found | {"seconds": time.monotonic() - started}


def _run_here(name: str, count: int, seed: int) -> None:
    from tests.fuzz.targets import TARGETS

    counts, told = collections.Counter(accepted=0, refused=0, faults=0), []
    with tempfile.TemporaryDirectory() as folder:
        attempt = TARGETS[name](pathlib.Path(folder))
        limit_memory()
        for index in range(count):
            kind, words = _outcome(attempt, random.Random(f"{seed} {index}"))
            counts[kind] += 1
            if kind == "faults":
                told.append(f"input {index}: {words}"[-3000:])
    print("\n" + json.dumps({**counts, "told": told[:5]}))


def _outcome(attempt, rng: random.Random) -> tuple[str, str]:
    try:
        attempt(rng)
    except (ValueError, OSError) as error:
        for sentence in getattr(error, "problems", None) or [str(error)]:
            if not sentence or "\n" in sentence or len(sentence) > _LONGEST:
                return "faults", f"not one sentence: {sentence!r}"
        return "refused", str(error)
    except BaseException:
        return "faults", traceback.format_exc()
    return "accepted", ""


def main(count: int, seed: int = 0) -> None:
    """Prints a table of what all targets answered to as many inputs."""
    from tests.fuzz.targets import TARGETS

    print("| input | accepted | refused in sentences | faults | seconds |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in TARGETS:
        found = run_target(name, count, seed)
        cells = [found[key] for key in ("accepted", "refused", "faults")]
        print(f"| {name} | {' | '.join(map(str, cells))} | {found['seconds']:.0f} |")
        sys.stdout.flush()
        print("\n".join(found["told"]), file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1] == "--in-here":
        _run_here(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(*map(int, sys.argv[1:]))

"""Reads mutated weight files under a memory limit; run in a process of its own.

    python -m tests.helpers.fuzz_weights SEED COUNT FOLDER

Prints every outcome that is neither arrays nor one sentence, and exits 1 if any was.
"""

import io
import json
import pathlib
import random
import resource
import struct
import sys
import zipfile

import numpy as np
from safetensors.numpy import save

from yolact_jax.weights.files import read_metadata, read_weights

_GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
_MEGABYTES = 300
_FIELDS = (0, -1, 1, 2**31, 2**40, 2**63, 2**64, 1.5, None, "", "F64", [], {}, [0, 1])


def limit_memory(megabytes=_MEGABYTES):
    """Allows this process so much more than it has now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def flip(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(data)


def cut(rng, data):
    return data[: rng.randrange(len(data))]


def repeat(rng, data):
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.randrange(1, 200))
    return data[:end] + data[start:]


def replace_number(rng, data):
    """Puts an extreme integer somewhere."""
    kind, value = rng.choice([("<i", -1), ("<I", 2**31), ("<q", 2**40), ("<q", -1)])
    packed = struct.pack(kind, value)
    start = rng.randrange(max(1, len(data) - len(packed)))
    return data[:start] + packed + data[start + len(packed) :]


BYTES = (flip, cut, repeat, replace_number)


def inside_zip(rng, data):
    """Changes a member and writes the archive anew, so that its checksums are right."""
    target = io.BytesIO()
    compression = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        names = old.namelist()
        pickles = [name for name in names if name.endswith("data.pkl")]
        chosen = rng.choice((*names, *pickles * len(names)))
        with zipfile.ZipFile(target, "w", compression) as new:
            for name in names:
                content = old.read(name)
                if name == chosen and content:
                    content = rng.choice(BYTES)(rng, content)
                new.writestr(name, content)
    return target.getvalue()


def in_header(rng, data):
    """Replaces a field of a safetensors header."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    entry = header[rng.choice(sorted(header))]
    entry[rng.choice(sorted(entry))] = rng.choice(_FIELDS)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def make_sources():
    arrays = {"a.weight": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float16)}
    legacy, archive = (
        (_GOLDEN / f"torch_{kind}.pth").read_bytes() for kind in ("legacy", "zip")
    )
    names = {"class_names": '["x"]', "category_ids": "[1]"}
    return (
        (".pth", legacy, BYTES),
        (".pth", archive, (*BYTES, inside_zip, inside_zip, inside_zip)),
        (".safetensors", save(arrays, names), (*BYTES, in_header, in_header)),
    )


def outcome_of(path):
    """Reads a file; None, or what is wrong with the way it ends."""
    try:
        read_metadata(path)
        tensors = read_weights(path)
        for array in tensors.values():
            array.astype(np.float64).sum()
    except ValueError as error:
        text = str(error)
        if "\n" in text or len(text) > 900 or path.name not in text:
            return f"not one sentence with the name of the file: {text[:2000]!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return None


def main(seed, count, folder):
    rng = random.Random(seed)
    sources = make_sources()
    limit_memory()
    np.seterr(all="ignore")
    wrong, read = 0, 0
    for index in range(count):
        suffix, data, mutations = sources[index % len(sources)]
        path = folder / f"fuzz{suffix}"
        path.write_bytes(rng.choice(mutations)(rng, data))
        outcome = outcome_of(path)
        if outcome:
            wrong += 1
            path.rename(folder / f"wrong{index}{suffix}")
            print(f"{index}: {outcome}")
        read += outcome is None
    print(f"{read} of {count} end well")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3]))

"""Ways to damage files, which all tests of damage share."""

import copy
import io
import random
import struct
import zipfile


def flip(rng: random.Random, data: bytes) -> bytes:
    """Replaces a few bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(changed)


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def repeat(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.randrange(1, 200))
    return data[:end] + data[start:]


def replace_number(rng: random.Random, data: bytes) -> bytes:
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


NUMBERS = (
    *(0, -0.0, 1, -1, 0.5, 7, 39.999, 60, 61, 6000, 6001, 1e9, -1e9, 1e-300, 1e308),
    *(2**31 - 1, -(2**31), 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**100),
    *(10**400, -(10**400), float("nan"), float("inf"), -float("inf"), 65_536),
)
TEXTS = (
    *("", "x", "7", "../nine.jpg", "/etc/hostname", "nine.jpg", "nul\0", "\ud800"),
    *("x" * 5000, "ünï", "0" * 50, "oo", "a\\b", ".", "..", "C:nine.jpg", "PPYo1"),
)
CONTAINERS = (
    *([], {}, [[]], [[], []], [None], [0] * 5000, {"size": [40, 60], "counts": []}),
    *({"size": [40, 60], "counts": [2400]}, {"size": [60, 40], "counts": [2400]}),
    *({"size": [40, 60], "counts": [2**32, 2400 - 2**32]}, {"counts": "0"}),
    *([[1e5, 1e5] * 3], [[-5999, 5999, 5999, -5999, 0, 0]], [[1, 2] * 3000]),
)


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value] if depth % 2 else {"a": value}
    return value


def places(value, found=None):
    """(container, key) of everything inside a json value."""
    found = [] if found is None else found
    items = {dict: dict.items, list: enumerate}.get(type(value))
    for key, inner in items(value) if items else ():
        found.append((value, key))
        places(inner, found)
    return found


def mutate(content, rng):
    """Changes one place by type, size, nesting or number of entries."""
    container, key = rng.choice(places(content))
    kind = rng.randrange(8)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    elif kind == 2:
        container[key] = nested(rng.choice((1, 2, 50, 51, 400)))
    elif kind == 3:
        container[key] = rng.choice((None, True, False))
    elif kind == 4:
        container[key] = rng.choice(TEXTS)
    elif kind == 5:
        container[key] = copy.deepcopy(rng.choice(CONTAINERS))
    elif kind == 6 and type(container[key]) in (int, float):
        container[key] *= rng.choice((-1, 0.5, 3, 100, 2**33, 1e15))
    else:
        container[key] = rng.choice(NUMBERS)


def written(text, rng):
    """The bytes of a text file: mostly sound, else cut, changed or encoded oddly."""
    data = text.encode(errors="replace")
    at = rng.randrange(len(data))
    return rng.choice(
        [data] * 12
        + [data[:at], data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]]
        + [text.encode(encoding, "replace") for encoding in ("utf-16", "utf-8-sig")]
    )

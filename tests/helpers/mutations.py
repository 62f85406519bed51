"""Ways to damage files, which all tests of damage share."""

import random
import struct


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

"""Bytes from every process of a run to every other."""

import itertools

import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

_LONGEST_WAIT_MS = 24 * 3600 * 1000
_BLOCK_BYTES = 64 << 20  # of all processes together, on each device
_barrier_ids = itertools.count()


def exchange(content: bytes) -> list[bytes]:
    """Returns what every process calls this with, in the order of the processes.

    It travels over the devices, as JAX has no other public way; in blocks, since each
    of them holds what all processes send.

    Args:
      content: less than 4 GiB; not empty in one process at least.
    """
    _wait_for_all()
    lengths = multihost_utils.process_allgather(np.uint32(len(content)))
    longest = int(lengths.max())
    # Few different sizes mean few compilations.
    size = min(_BLOCK_BYTES // len(lengths), 1 << (longest - 1).bit_length())
    padded = np.zeros(-(-longest // size) * size, np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    blocks = [
        multihost_utils.process_allgather(padded[start : start + size])
        for start in range(0, longest, size)
    ]
    received = np.concatenate(blocks, axis=1)
    return [
        row[:length].tobytes() for row, length in zip(received, lengths, strict=True)
    ]


def _wait_for_all() -> None:
    """Waits without a device, whose collectives give up after seconds on some."""
    wait = ocp.multihost.get_barrier_sync_fn()
    wait(key=f"yolact_jax_{next(_barrier_ids)}", timeout_ms=_LONGEST_WAIT_MS)

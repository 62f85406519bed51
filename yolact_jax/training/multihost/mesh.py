"""The devices of a run, on one host or many, and how arrays lie on them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from yolact_jax.structures import Batch

DATA_AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where state and batches are.

    Attributes:
      replicated: a copy on every device, for the state.
      sharded: the first axis spread over the devices, for batches.
    """

    replicated: NamedSharding
    sharded: NamedSharding


def make_layout(devices: Sequence[Any] | None = None) -> Layout:
    """Spreads batches over devices in the order of their processes.

    So a process has one block of the rows of a batch, as `data.pipeline` loads them.
    The devices are all devices of all processes by default.

    Raises:
      ValueError: if the processes have different numbers of devices.
    """
    devices = jax.devices() if devices is None else devices
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    counts = np.unique([d.process_index for d in ordered], return_counts=True)[1]
    if len(set(counts)) > 1:
        raise ValueError(
            f"the processes have {', '.join(map(str, counts))} devices; all must have "
            f"the same number to share a batch."
        )
    mesh = Mesh(np.array(ordered), (DATA_AXIS,), axis_types=(AxisType.Auto,))
    return Layout(
        replicated=NamedSharding(mesh, PartitionSpec()),
        sharded=NamedSharding(mesh, PartitionSpec(DATA_AXIS)),
    )


def to_devices(arrays: dict[str, Any], sharded: NamedSharding) -> Batch:
    """Puts this process's rows of the fields of a `Batch` on the devices."""
    names = [field.name for field in dataclasses.fields(Batch)]
    fields = {name: arrays[name] for name in names if name in arrays}
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharded, x), Batch(**fields)
    )

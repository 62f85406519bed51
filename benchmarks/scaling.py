"""Images a second that many devices can train on: arithmetic, from one measured device.

    python benchmarks/scaling.py

Takes the step of one device from `results/train_step-*.csv`, and adds the all-reduce of
the gradient as a ring makes it, at the nominal rate of the slowest link between the
devices.  Between "in turn", where a step waits for all of it, and "hidden", where it
runs beside the backward pass, lies what to expect.  Latency, stragglers and loading are
left out: no more than one GPU has been measured.
"""

import argparse
import csv
import math
from pathlib import Path

_RESULTS = Path(__file__).parent / "results"
_PARAMETERS = {"yolact_resnet50": 31_164_943, "yolact_base": 50_157_071}
_BYTES = 4  # Gradients stay float32.
_BACKWARD = 2 / 3  # of the operations of a step
_DEVICES_OF_A_HOST = 8
_LINKS = {True: ("NVLink", 450e9), False: ("400 Gb/s a GPU", 50e9)}
NUM_DEVICES = (1, 8, 64, 256)


def all_reduce_s(num_bytes: float, num_devices: int, bytes_per_s: float) -> float:
    """Seconds that a ring needs: each byte goes around twice, but for its own part."""
    return 2 * (num_devices - 1) / num_devices * num_bytes / bytes_per_s


def link(num_devices: int) -> tuple[str, float]:
    """Name, and bytes a second in one direction, of the slowest link."""
    return _LINKS[num_devices <= _DEVICES_OF_A_HOST]


def expected(
    parameters: int, step_s: float, images: int, num_devices: int
) -> dict[str, float | str]:
    """What a number of devices makes of the step of one, with as many images on each.

    Args:
      parameters: of the network.
      step_s: seconds of a step on one device.
      images: on a device, in that step.
      num_devices: how many.
    """
    name, rate = link(num_devices)
    sending_s = all_reduce_s(_BYTES * parameters, num_devices, rate)
    backward_s = _BACKWARD * step_s
    in_turn_s = step_s + sending_s
    hidden_s = step_s + max(sending_s - backward_s, 0.0)
    return {
        "devices": num_devices,
        "link": name if num_devices > 1 else "",
        "all_reduce_ms": round(1e3 * sending_s, 2),
        "images_per_s_in_turn": round(num_devices * images / in_turn_s),
        "images_per_s_hidden": round(num_devices * images / hidden_s),
        "efficiency_in_turn": round(step_s / in_turn_s, 3),
        "least_images_to_hide": math.ceil(images * sending_s / backward_s),
    }


def main() -> None:
    """Prints a line for each network and number of devices, and writes them as CSV."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    device = "nvidia_h100_80gb_hbm3-jax0.11.2"
    parser.add_argument("--device", default=device, help="of the measured rows")
    parser.add_argument("--results", type=Path, default=_RESULTS)
    options = parser.parse_args()
    with (_RESULTS / f"train_step-{options.device}.csv").open(newline="") as stream:
        measured = list(csv.DictReader(stream))
    rows = [
        {"config": row["config"], "images_a_device": row["batch_size"]}
        | expected(
            _PARAMETERS[row["config"]],
            float(row["step_s"]),
            int(row["batch_size"]),
            num_devices,
        )
        for row in measured
        for num_devices in NUM_DEVICES
    ]
    path = options.results / f"scaling-{options.device}.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()

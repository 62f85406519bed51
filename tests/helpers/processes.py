"""One of several processes of a run on this machine; `run_processes` starts them.

python -m tests.helpers.processes JOB PORT NUM_PROCESSES PROCESS_ID FOLDER
"""

import json
import os
import pathlib
import pickle
import socket
import subprocess
import sys

from tests.helpers import quick_compile

ROOT = pathlib.Path(__file__).parent.parent.parent
DEVICES_PER_PROCESS = 2


def run_processes(
    job: str, folder: pathlib.Path, count: int = 2, timeout_seconds: float = 900
) -> None:
    """Runs `count` processes with two devices each, and shows what failed."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [sys.executable, "-m", "tests.helpers.processes", job, str(port)]
    devices = f"--xla_force_host_platform_device_count={DEVICES_PER_PROCESS}"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{devices} {quick_compile.XLA_FLAGS}",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
    }
    logs = [folder / f"{job}_{index}.log" for index in range(count)]
    running = []
    for index, log in enumerate(logs):
        arguments = [*command, str(count), str(index), str(folder)]
        with open(log, "w") as file:
            running.append(
                subprocess.Popen(
                    arguments, cwd=ROOT, env=environment, stdout=file, stderr=file
                )
            )
    try:
        codes = [process.wait(timeout_seconds) for process in running]
    finally:
        for process in running:
            process.kill()
    assert codes == [0] * count, "\n".join(log.read_text()[-3000:] for log in logs)


def take_steps(folder: pathlib.Path) -> None:
    """Trains the tiny model on this process's rows; process 0 keeps the result."""
    import jax

    from tests.training import test_engines

    result = jax.device_get(test_engines.run_on_mesh())
    if jax.process_index() == 0:
        (folder / "steps.pickle").write_bytes(pickle.dumps(result))


def train_driver(folder: pathlib.Path) -> None:
    """Trains the run of `test_topology` with the config in the folder."""
    from yolact_jax.cli import start_logging
    from yolact_jax.training.loop import train
    from yolact_jax.training.multihost import processes

    start_logging(quiet=not processes.is_first_process())
    config = pickle.loads((folder / "config.pickle").read_bytes())
    train(config, folder / "run")


def evaluate(folder: pathlib.Path) -> None:
    """Evaluates the model of `test_evaluation_in_parts` with the others."""
    import jax

    from tests.training import test_evaluation_in_parts

    row = test_evaluation_in_parts.evaluate(folder)
    (folder / f"row_{jax.process_index()}.json").write_text(json.dumps(row))


def talk(folder: pathlib.Path) -> None:
    """Exchanges values and failures of all kinds; writes what this process learns."""
    from tests.training.multihost import test_processes

    test_processes.talk(folder)


JOBS = {
    "steps": take_steps,
    "train": train_driver,
    "talk": talk,
    "evaluate": evaluate,
}


def main(job, port, count, index, folder) -> None:
    """Joins the other processes and does the job."""
    from absl import flags

    from yolact_jax.training.multihost import processes

    flags.FLAGS.mark_as_parsed()
    processes.initialize(
        coordinator_address=f"127.0.0.1:{port}",
        num_processes=int(count),
        process_id=int(index),
    )
    JOBS[job](pathlib.Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])

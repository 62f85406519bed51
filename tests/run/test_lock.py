"""A folder is trained in by one process at a time, which may die in any way."""

import errno
import json
import multiprocessing
import os
import socket

import pytest

from yolact_jax.run import lock
from yolact_jax.run.lock import WorkdirInUseError, sole_training

CONTEXT = multiprocessing.get_context("forkserver")


def hold(workdir, connection) -> None:
    """Holds the folder until it is told to stop, as a training would."""
    with sole_training(workdir):
        connection.send(os.getpid())
        connection.recv()


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder of the test."""
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=hold, args=(tmp_path, there))
    process.start()
    assert here.recv() == process.pid
    yield process, here
    process.kill()
    process.join()


def test_second_process_is_told_who_has_the_folder(holder, tmp_path):
    process, connection = holder
    written = json.loads((tmp_path / "run.lock").read_text())
    assert written["pid"] == process.pid
    with pytest.raises(WorkdirInUseError) as info, sole_training(tmp_path):
        pass
    message = str(info.value)
    for part in (tmp_path, process.pid, socket.gethostname(), written["started"]):
        assert str(part) in message
    assert message.endswith("wait until it ends, stop it, or give another workdir.")
    # Asking has changed nothing.
    assert json.loads((tmp_path / "run.lock").read_text()) == written
    connection.send("stop")
    process.join()
    with sole_training(tmp_path):
        pass


def test_killed_process_leaves_no_lock(holder, tmp_path, caplog):
    process, _ = holder
    process.kill()
    process.join()
    assert (tmp_path / "run.lock").read_bytes()
    with sole_training(tmp_path):
        assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()
    assert (tmp_path / "run.lock").read_bytes() == b""
    assert not caplog.text


def test_one_process_trains_again_but_not_twice_at_once(tmp_path):
    for _ in range(2):
        with sole_training(tmp_path / "run"):
            with (
                pytest.raises(WorkdirInUseError, match=f"process {os.getpid()} on"),
                sole_training(tmp_path / "run"),
            ):
                pass
            with sole_training(tmp_path / "other"):
                pass


def test_failed_training_gives_the_folder_back(tmp_path):
    with pytest.raises(RuntimeError, match="failed"), sole_training(tmp_path):
        raise RuntimeError("failed")
    with sole_training(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_named_once(code, tmp_path, monkeypatch, caplog):
    def refuse(descriptor, *, blocking):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lock.filelock, "lock_descriptor", refuse)
    with sole_training(tmp_path):
        assert (tmp_path / "run.lock").read_bytes()
    assert len(caplog.records) == 1
    assert f"cannot be locked ({os.strerror(code)})" in caplog.text


def test_a_link_is_not_written_through(tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("precious")
    folder.mkdir()
    (folder / "run.lock").symlink_to(victim)
    with pytest.raises(OSError, match=r"run\.lock"), sole_training(folder):
        pass
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"pid": 3}\n'])
def test_holder_that_has_not_said_who_it_is(content, holder, tmp_path):
    (tmp_path / "run.lock").write_bytes(content)
    with (
        pytest.raises(WorkdirInUseError, match="in use: another process is training"),
        sole_training(tmp_path),
    ):
        pass


def test_unfinished_training_on_another_host_is_mentioned(tmp_path, caplog):
    other = {"pid": 7, "host": "elsewhere", "started": "2026-01-02 03:04:05+00:00"}
    (tmp_path / "run.lock").write_text(json.dumps(other))
    with sole_training(tmp_path):
        pass
    assert "by process 7 on elsewhere, since 2026-01-02 03:04:05" in caplog.text
    caplog.clear()
    with sole_training(tmp_path):
        pass
    assert not caplog.text

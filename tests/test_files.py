"""A file is replaced whole, or left as it was."""

import json
import multiprocessing
import os
import threading

import pytest

from yolact_jax import files
from yolact_jax.files import replacing, write_json

CONTEXT = multiprocessing.get_context("forkserver")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_when_all_went_well(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(path.parent) == ["file.txt"]


def test_file_is_left_alone_after_an_error(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("ha")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("items", [[], [1], [{"a": [1, "b"]}, None, "\u00e9"]])
def test_a_list_written_in_parts_is_the_same_file(tmp_path, items):
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    write_json(whole, items)
    with files.json_list(parts) as add:
        for item in items:
            add([item])
        add([])
    assert parts.read_bytes() == whole.read_bytes()
    with (
        pytest.raises(ValueError, match=r"parts\.json cannot be written"),
        files.json_list(parts) as add,
    ):
        add([1.0, float("nan")])
    assert parts.read_bytes() == whole.read_bytes()


def hang(path, connection):
    with replacing(path) as temporary:
        temporary.write_text("half")
        connection.send(temporary.name)
        connection.recv()


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing ``file.txt``."""
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=hang, args=(tmp_path / "file.txt", there))
    process.start()
    assert (tmp_path / here.recv()).read_text() == "half"
    yield process, here
    process.kill()
    process.join()


def test_what_a_killed_writer_left_goes_with_the_next_write(writer, tmp_path):
    process, _ = writer
    process.kill()
    process.join()
    assert names(tmp_path) == [".file.txt.0.tmp"]
    with replacing(tmp_path / "other.txt"):
        pass
    assert names(tmp_path) == [".file.txt.0.tmp", "other.txt"]
    write_json(tmp_path / "file.txt", 1)
    assert names(tmp_path) == ["file.txt", "other.txt"]


def test_writers_at_the_same_time_do_not_meet(writer, tmp_path):
    process, connection = writer
    write_json(tmp_path / "file.txt", 1)
    assert (tmp_path / "file.txt").read_text() == "1\n"
    connection.send("go on")
    process.join()
    assert (tmp_path / "file.txt").read_text() == "half"
    assert names(tmp_path) == ["file.txt"]


def test_many_threads_write_one_file(tmp_path):
    failures = []

    def write(number):
        try:
            for _ in range(20):
                write_json(tmp_path / "file.json", [number] * 1000)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(set(json.loads((tmp_path / "file.json").read_text()))) == 1
    assert names(tmp_path) == ["file.json"]


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_link_under_a_temporary_name_is_not_written_through(make, tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("precious")
    folder.mkdir()
    for number in range(3):
        make(victim, folder / f".file.json.{number}.tmp")
    write_json(folder / "file.json", 1)
    assert victim.read_text() == "precious"
    assert (folder / "file.json").read_text() == "1\n"
    assert not (folder / "file.json").is_symlink()


@pytest.mark.parametrize("locks", ["absent", "refused"])
def test_a_system_without_locks_writes_too(locks, tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError("no locks")

    if locks == "absent":
        monkeypatch.setattr(files, "fcntl", None)
    else:
        monkeypatch.setattr(files.fcntl, "flock", refuse)
    left = tmp_path / ".file.json.0.tmp"
    left.write_text("perhaps being written")
    write_json(tmp_path / "file.json", 1)
    assert left.read_text() == "perhaps being written"
    assert names(tmp_path) == [left.name, "file.json"]


def test_content_is_on_disk_before_its_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(
        files.os, "fsync", lambda descriptor: done.append(os.fstat(descriptor).st_ino)
    )
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("whole")
        assert not done
    assert done == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "[a]*?.json", "..."])
def test_any_name_that_the_system_allows(name, tmp_path):
    write_json(tmp_path / name, {"a": None})
    assert json.loads((tmp_path / name).read_text()) == {"a": None}
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_knows_finite_numbers_only(number, tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"a": [0.1]}, indent=2)
    with pytest.raises(ValueError, match=r"file\.json cannot be written"):
        write_json(path, {"a": [number]})
    assert path.read_text() == '{\n  "a": [\n    0.1\n  ]\n}\n'

"""Commands start again, once, with memory in large pages, where Linux asks for that."""

import os
import subprocess
import sys

import pytest

from tests.helpers.commands import ROOT
from yolact_jax.tools.commands import large_pages, main

_PROGRAM = """
import ctypes, re, sys
print("started", flush=True)
from yolact_jax.tools.commands import large_pages
large_pages.start_again_with_them()
size = 64 << 20
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
ctypes.memset(libc.malloc(size), 1, size)
text = open("/proc/self/smaps_rollup").read()
large = int(re.search(r"AnonHugePages: *(\\d+)", text)[1]) * 1024
print(sys.argv[1:], large >= size / 2)
"""
_ON_REQUEST = pytest.mark.skipif(
    not (large_pages._on_request() and large_pages._is_glibc()),
    reason="this system gives them to all, or to none",
)


def _output(*command, cwd=ROOT, text=None, **variables: str) -> list[str]:
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    process = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        input=text,
        env=environment | {"PYTHONPATH": str(ROOT)} | variables,
    )
    return process.stdout.splitlines()


@pytest.fixture
def script(tmp_path):
    (tmp_path / "script.py").write_text(_PROGRAM)
    return tmp_path / "script.py"


@_ON_REQUEST
def test_the_script_starts_again_with_its_words_and_large_pages(script):
    lines = _output(script, "a b", "--flag=ü")
    assert lines == ["started", "started", "['a b', '--flag=ü'] True"]


@_ON_REQUEST
@pytest.mark.parametrize("setting", ["", "glibc.malloc.hugetlb=0"])
def test_a_setting_of_the_user_stays(setting, script):
    lines = _output(script, GLIBC_TUNABLES=setting)
    assert lines == ["started", "[] False"]


@_ON_REQUEST
def test_nothing_starts_again_within_another_program(script):
    words = ["started", "['x'] False"]
    assert _output("-c", _PROGRAM, "x") == words
    assert _output("-", "x", text=_PROGRAM) == words
    run = f"import runpy, sys; sys.argv = [{str(script)!r}, 'x']; "
    assert _output("-c", f"{run}runpy.run_path(sys.argv[0])") == words
    debugged = _output("-m", "pdb", "-c", "continue", script, "x", text="quit\n")
    assert [line for line in debugged if line in words] == words
    moved = f"import os; os.chdir('/')\n{_PROGRAM}"
    script.write_text(moved)
    assert _output(script.name, "x", cwd=script.parent) == words


@pytest.fixture
def starts(monkeypatch, tmp_path):
    """Programs started, where nothing but the file of the system says whether."""
    programs = []
    monkeypatch.setattr(os, "execv", lambda *program: programs.append(program))
    monkeypatch.setattr(sys, "argv", [__file__, "x"])
    monkeypatch.setattr(sys, "orig_argv", ["python", __file__, "x"])
    monkeypatch.setattr(large_pages, "_is_glibc", lambda: True)
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    monkeypatch.delenv("GLIBC_TUNABLES")
    monkeypatch.setattr(large_pages, "_SYSTEM", tmp_path / "enabled")
    return programs


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("always [madvise] never", 1),
        ("[always] madvise never", 0),
        ("always madvise [never]", 0),
        (None, 0),
    ],
)
def test_only_a_system_that_is_asked_is_asked(text, count, starts, tmp_path):
    if text is not None:
        (tmp_path / "enabled").write_text(text)
    large_pages.start_again_with_them()
    assert len(starts) == count
    assert ("GLIBC_TUNABLES" in os.environ) == bool(count)


def test_a_system_that_refuses_goes_on(starts, tmp_path, monkeypatch):
    (tmp_path / "enabled").write_text("always [madvise] never")

    def refuse(*program):
        starts.append(program)
        raise PermissionError("no")

    monkeypatch.setattr(os, "execv", refuse)
    large_pages.start_again_with_them()
    assert len(starts) == 1


def test_script_and_console_command_ask(starts, tmp_path, monkeypatch, capsys):
    (tmp_path / "enabled").write_text("always [madvise] never")
    monkeypatch.setattr(sys, "argv", [__file__, "--version"])
    monkeypatch.setattr(sys, "orig_argv", ["python", __file__, "--version"])
    assert main.run_console() == 0
    assert starts == [(sys.executable, ["python", __file__, "--version"])]
    monkeypatch.delenv("GLIBC_TUNABLES")
    with pytest.raises(SystemExit):
        main.run_script("train.py")
    assert len(starts) == 2
    monkeypatch.delenv("GLIBC_TUNABLES")
    main.main(["--version"])  # As other programs call it.
    assert len(starts) == 2


@pytest.mark.parametrize(
    ("text", "is_known"),
    [("glibc 2.35", True), ("glibc 2.4", False), ("glibc 3.0", True), ("", False)],
)
def test_older_libraries_do_not_know_it(text, is_known, monkeypatch):
    monkeypatch.setattr(os, "confstr", lambda name: text)
    assert large_pages._is_glibc() == is_known

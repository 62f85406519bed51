"""The page for browsers: its files, and, where a browser is, what it finds."""

import errno
import functools
import http.server
import json
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

import yolact_jax
from tests.helpers import lively
from yolact_jax.export import site as site_lib
from yolact_jax.export.site import RUNTIME_FILES, export_site

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
RUNTIME = pathlib.Path("node_modules/onnxruntime-web/dist")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "page"
    run = lively.run_of()
    export_site(run, lively.variables_of(run), folder)
    return folder


def test_page_holds_the_model_and_its_classes(site):
    assert json.loads((site / "about.json").read_text()) == {
        "class_names": list(lively.NAMES)
    }
    assert yolact_jax.load(site / "model.onnx").class_names == lively.NAMES
    page = (site / "index.html").read_text()
    loaded = re.findall(r'(?:src=|fetch\(|create\()"([^"]+)"', page)
    assert set(loaded) == {"ort.wasm.min.js", "about.json", "model.onnx"}


def test_runtime_files_are_copied(tmp_path):
    for name in RUNTIME_FILES:
        (tmp_path / name).write_text(name)
    run = lively.run_of()
    options = {"runtime_files": tmp_path}
    export_site(run, lively.variables_of(run), tmp_path / "site", **options)
    assert {p.name for p in (tmp_path / "site").iterdir()} > set(RUNTIME_FILES)
    (tmp_path / RUNTIME_FILES[0]).unlink()
    with pytest.raises(ValueError, match=f"has no {RUNTIME_FILES[0]}"):
        export_site(run, lively.variables_of(run), tmp_path / "b", **options)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    run = lively.run_of()
    with pytest.raises(ValueError, match=r"it has thesis.txt"):
        export_site(run, lively.variables_of(run), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["index.html", "about.json", "model.onnx"])
def test_files_of_others_with_the_names_of_a_page_are_left_alone(tmp_path, name):
    (tmp_path / name).write_text("<!doctype html><title>My home page</title>")
    (tmp_path / RUNTIME_FILES[0]).write_text("copied before")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    run = lively.run_of()
    what = "index.html is not" if name == "index.html" else "there is no index.html"
    with pytest.raises(ValueError, match=rf"{what} of an export"):
        export_site(run, lively.variables_of(run), tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_page_is_written_again(site, tmp_path):
    again = tmp_path / "page"
    shutil.copytree(site, again)
    (again / "model.onnx").write_text("cut")
    run = lively.run_of()
    export_site(run, lively.variables_of(run), again)
    assert (again / "model.onnx").stat().st_size > 100_000


def test_a_page_of_an_earlier_version_is_replaced(site, tmp_path):
    again = tmp_path / "page"
    shutil.copytree(site, again)
    lines = (again / "index.html").read_text().splitlines(keepends=True)
    (again / "index.html").write_text("".join(x for x in lines if "generator" not in x))
    run = lively.run_of()
    export_site(run, lively.variables_of(run), again)
    assert "generator" in (again / "index.html").read_text()


def test_an_export_that_failed_can_be_repeated(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run, folder = lively.run_of(), tmp_path / "page"
    with monkeypatch.context() as patched:
        patched.setattr(site_lib, "write_json", full)
        with pytest.raises(OSError, match="No space left"):
            export_site(run, lively.variables_of(run), folder)
    export_site(run, lively.variables_of(run), folder)
    assert (folder / "about.json").is_file()


@pytest.mark.parametrize("name", ["index.html", "model.onnx", "about.json"])
def test_a_killed_export_can_be_repeated(tmp_path, name):
    """The process ends at once, as by a signal: no `finally` runs."""
    code = f"""
import os, pathlib, sys
from yolact_jax import files
from yolact_jax.export import site
from tests.helpers import lively
real = files.replacing
def killed(path):
    if pathlib.Path(path).name != {name!r}:
        return real(path)
    held = real(path)
    held.__enter__()
    os._exit(9)
site.replacing = files.replacing = killed
run = lively.run_of()
site.export_site(run, lively.variables_of(run), sys.argv[1])
"""
    folder = tmp_path / "page"
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-c", code, folder]
    assert subprocess.run(words, env=os.environ | paths).returncode == 9
    assert list(folder.glob(".*.tmp"))
    run = lively.run_of()
    export_site(run, lively.variables_of(run), folder)
    names = {path.name for path in folder.iterdir()} - set(RUNTIME_FILES)
    assert names == {"index.html", "model.onnx", "about.json"}


@pytest.mark.slow
@pytest.mark.skipif(
    not CHROMIUM or not RUNTIME.is_dir(), reason="needs Chromium and onnxruntime-web"
)
def test_a_browser_finds_the_same(tmp_path):
    run = lively.run_of()
    site = tmp_path / "site"
    export_site(run, lively.variables_of(run), site)
    (image,) = lively.pictures((120, 160))
    cv2.imwrite(str(site / "picture.png"), image[..., ::-1])
    wanted = yolact_jax.load(site / "model.onnx").predict(image, score_threshold=0.3)
    assert len(wanted) > 3
    found = opened_in_browser(site, tmp_path / "profile")
    assert [one["name"] for one in found] == wanted.names
    np.testing.assert_allclose([x["score"] for x in found], wanted.scores, atol=1e-4)
    np.testing.assert_allclose([x["box"] for x in found], wanted.boxes_px, atol=0.02)


# Sends what the page found, as soon as it has.
REPORTER = """<script>
const timer = setInterval(() => {
  if (!window.objects) return;
  clearInterval(timer);
  fetch("/found", { method: "POST", body: JSON.stringify(window.objects) });
}, 100);
</script>"""


def opened_in_browser(site, profile) -> list[dict]:
    """Opens the page with its picture in a browser, and waits for what it finds."""
    page = site / "index.html"
    page.write_text(page.read_text().replace("</html>", f"{REPORTER}</html>"))
    found: queue.Queue = queue.Queue()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            found.put(json.loads(self.rfile.read(length)))
            self.send_response(204)
            self.end_headers()

    handler = functools.partial(Handler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/?picture=picture.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        words = [CHROMIUM, *flags, f"--user-data-dir={profile}", url]
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as browser:
            try:
                return found.get(timeout=120)
            finally:
                browser.terminate()
                server.shutdown()

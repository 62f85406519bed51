"""The demo in a browser: the same objects as in Python, and no other server."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import socket
import subprocess
import sys
import urllib.parse

import cv2
import numpy as np
import pytest

import yolact_jax
from tests.helpers import lively
from tests.helpers.browser import CHROMIUM, open_page, wait_until
from tests.helpers.commands import ROOT, run_command
from yolact_jax.export.onnx.file import export_onnx

NAMES = ("<img src=x onerror=alert(1)>", "dog", "cow")
HAS_GRADIO = importlib.util.find_spec("gradio") is not None


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "model.onnx"
    run = dataclasses.replace(lively.run_of(), class_names=NAMES)
    export_onnx(run, lively.variables_of(run), path)
    return path


def test_without_gradio_it_says_which_extra(model):
    if HAS_GRADIO:
        pytest.skip("it is installed")
    done = run_command("demo", "--weights", model)
    assert done.returncode == 1
    assert 'pip install "yolact_jax[demo]"' in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not HAS_GRADIO, reason="needs gradio")
def test_a_port_that_is_taken_is_named(model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command("demo", "--weights", model, "--port", port)
    assert done.returncode == 1
    assert f"--port {port} cannot be used" in done.stderr


@contextlib.contextmanager
def served(model, folder):
    """The address of the page of a running server, which has its own /tmp."""
    log, temporary = folder / "log", folder / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    main = "from yolact_jax.tools.commands.main import main; main()"
    words = [sys.executable, "-c", main, "demo", f"--weights={model}", f"--port={port}"]
    with (
        open(log, "w") as file,
        subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=file, stderr=file
        ) as server,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until(lambda: address in log.read_text() or server.poll() is not None)
            assert server.poll() is None, log.read_text()
            yield address
        finally:
            server.terminate()


SENTENCE = "document.querySelector('#sentence textarea')?.value"


@pytest.mark.slow
@pytest.mark.skipif(
    not (HAS_GRADIO and CHROMIUM), reason="needs gradio and a Chromium browser"
)
def test_a_browser_finds_the_same(model, tmp_path):
    (image,) = lively.pictures((120, 160))
    photo, broken = tmp_path / "photo.png", tmp_path / "broken.jpg"
    cv2.imwrite(str(photo), image[..., ::-1])
    broken.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    predict = yolact_jax.load(model).predict
    with (
        served(model, tmp_path) as address,
        open_page(address, tmp_path / "profile") as page,
    ):
        downloads = {"behavior": "allow", "downloadPath": str(tmp_path / "downloads")}
        page.call("Browser.setDownloadBehavior", **downloads)
        page.wait_for("document.querySelector('input[type=file]')")
        choose(page, photo)
        wanted = predict(image, score_threshold=0.3).to_coco()
        assert len(wanted) > 3
        page.press("#find")
        page.wait_for(f"{SENTENCE}?.startsWith('photo.png: {len(wanted)} objects')")
        assert_same(downloaded(page, tmp_path), wanted)

        page.click("#classes input")
        assert page.value("document.querySelector('[role=option] img')") is None
        page.click("[role=option]")
        wanted = predict(image, score_threshold=0.3, classes=NAMES[0]).to_coco()
        page.press("#find")
        page.wait_for(f"{SENTENCE}?.endsWith(': {len(wanted)} {NAMES[0]}.')")
        assert_same(downloaded(page, tmp_path), wanted)

        page.press("[aria-label=Clear]")
        choose(page, broken)
        page.press("#find")
        page.wait_for(f"{SENTENCE}?.startsWith('broken.jpg: the file is not an image')")
        assert not page.value("!!document.querySelector('#json')")
        assert {urllib.parse.urlsplit(url).netloc for url in page.requests} <= {
            address.removeprefix("http://"),
            "",
        }
    assert not list((tmp_path / "temporary").glob("yolact-jax-*"))


def choose(page, path):
    page.wait_for("document.querySelector('input[type=file]')")
    page.upload("input[type=file]", path)
    page.wait_for(f"document.body.innerText.includes('{path.stem}')")


def downloaded(page, folder):
    """Presses the button, and reads the file that the browser gets."""
    page.press("#json")
    path = folder / "downloads" / "detections.json"
    wait_until(path.exists)
    return json.loads(path.rename(folder / "downloads" / "read.json").read_text())


def assert_same(content, wanted):
    found = content["annotations"]
    for key in ("category_id", "segmentation"):
        assert [x[key] for x in found] == [x[key] for x in wanted]
    scores = [x["score"] for x in found]
    np.testing.assert_allclose(scores, [x["score"] for x in wanted], atol=1e-5)

"""The page of ``yolact-jax demo``, made and served by Gradio."""

import collections
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yolact_jax.data.images import IMAGE_SUFFIXES
from yolact_jax.data.video import VIDEO_SUFFIXES
from yolact_jax.inference.options import DEFAULT_SCORE
from yolact_jax.results.predictor import Predictor
from yolact_jax.tools.demo.answer import Answer, answer

_TITLE = "YOLACT"
_MOST_KEPT = 8  # answers on disk
_SECONDS_KEPT = 3600  # what the page has of them
_FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace"]}
# Without the button that shares with a server.
_HIDDEN = {"interactive": False, "visible": False, "buttons": ["download"]}
# One thread has the network.
_ALONE = {"concurrency_limit": 1, "concurrency_id": "network"}


def serve(load: Callable[[], Predictor], *, host: str, port: int) -> None:
    """Serves the page until the process is interrupted.

    Uploads and answers lie in a temporary folder, which goes when the server ends.
    Nothing is sent to any other place than the browser.

    Args:
      load: loads the model; called when the page can be served.
      host: address of this machine to listen at.
      port: to listen at.

    Raises:
      ValueError: if gradio is missing, or the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="yolact-jax-demo-") as folder:
        gradio = _import_gradio(Path(folder))
        _require_free(host, port)
        page = _make_page(gradio, load(), Path(folder))
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            show_error=True,
            quiet=True,
            ssr_mode=False,
            run_history=False,
            footer_links=[],
            theme=gradio.themes.Default(**_FONTS),
        )
        print(f"http://{host}:{port} (Ctrl+C ends it)", flush=True)
        # The folder goes in any case.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            threading.Event().wait()
        finally:
            page.close(verbose=False)


def _import_gradio(folder: Path) -> Any:
    """Imports Gradio, which then writes into a folder and sends nothing home."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "copies")
    try:
        # Optional, so not always there when types are checked.
        import gradio  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            'demo needs the gradio package: pip install "yolact_jax[demo]".'
        ) from error
    return gradio


def _require_free(host: str, port: int) -> None:
    """Raises if nothing can listen there; Gradio would name its own settings."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise ValueError(
            f"--host {host} --port {port} cannot be used ({error.strerror or error}); "
            f"give others."
        ) from error


def _make_page(gradio: Any, predictor: Predictor, folder: Path) -> Any:
    find = _finder(gradio, predictor, folder)
    with (
        gradio.Blocks(
            title=_TITLE, delete_cache=(_SECONDS_KEPT, _SECONDS_KEPT)
        ) as page,
        gradio.Row(),
    ):
        with gradio.Column(scale=1):
            sources = _sources(gradio)
            choices = _choices(gradio, predictor)
        with gradio.Column(scale=2):
            shown = _shown(gradio)
        for source, button in sources:
            button.click(find, [source, *choices], shown, **_ALONE)
    return page


def _sources(gradio: Any) -> list[tuple[Any, Any]]:
    """Where a picture or a clip comes from, with the button that starts the search."""
    with gradio.Tab("File"):
        # Gradio would decode an image by itself, and complain in its own words.
        file = gradio.File(
            label="Picture or clip", file_types=[*IMAGE_SUFFIXES, *VIDEO_SUFFIXES]
        )
        in_file = gradio.Button("Find objects", variant="primary", elem_id="find")
    with gradio.Tab("Camera"):
        camera = gradio.Image(
            label="Camera", sources=["webcam"], type="filepath", image_mode=None
        )
        in_camera = gradio.Button("Find objects", variant="primary")
    return [(file, in_file), (camera, in_camera)]


def _choices(gradio: Any, predictor: Predictor) -> list[Any]:
    names = list(zip(predictor.class_names, predictor.category_ids, strict=True))
    return [
        gradio.Slider(
            0, 1, DEFAULT_SCORE, step=0.01, label="Least score", elem_id="score"
        ),
        gradio.Dropdown(
            names,
            value=[],
            multiselect=True,
            label="Classes (none chosen: all)",
            elem_id="classes",
        ),
    ]


def _shown(gradio: Any) -> list[Any]:
    return [
        gradio.Textbox(label="Found", interactive=False, elem_id="sentence"),
        gradio.Image(label="Picture", **_HIDDEN),
        gradio.Video(label="Clip", **_HIDDEN),
        gradio.DownloadButton(
            "Download detections.json", elem_id="json", visible=False
        ),
    ]


def _finder(gradio: Any, predictor: Predictor, folder: Path) -> Callable[..., list]:
    """What a button calls; only the last answers stay on disk."""
    kept: collections.deque[Path] = collections.deque()

    def find(file: str | None, score: float, category_ids: list[int]) -> list[Any]:
        kept.append(Path(tempfile.mkdtemp(dir=folder)))
        if len(kept) > _MOST_KEPT:
            shutil.rmtree(kept.popleft())
        options = {"score_threshold": score, "category_ids": category_ids}
        return _updates(gradio, answer(predictor, file, kept[-1], **options))

    return find


def _updates(gradio: Any, found: Answer) -> list[Any]:
    """The new state of what `_shown` made."""
    paths = found.picture, found.clip, found.detections
    return [
        found.sentence,
        *(
            gradio.update(value=path and str(path), visible=bool(path))
            for path in paths
        ),
    ]

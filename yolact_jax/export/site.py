"""Writes a static page that finds objects in pictures, inside the browser."""

import logging
import shutil
from pathlib import Path

from yolact_jax.data.pixels import RGB, Pixels
from yolact_jax.export.onnx.file import onnx_bytes
from yolact_jax.files import left_overs, replacing, write_json
from yolact_jax.run.folder import Run

_LOGGER = logging.getLogger(__name__)
_PAGE = Path(__file__).with_name("page") / "index.html"
_MADE = (_PAGE.name, "model.onnx", "about.json")
# The second is that of earlier versions.
_MARKS = (b'content="yolact-jax export"', b"<title>YOLACT in the browser</title>")
_RUNTIME = Path("node_modules", "onnxruntime-web", "dist")
RUNTIME_FILES = (
    "ort.wasm.min.js",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
"""The files of the npm package onnxruntime-web that the page loads."""


def export_site(
    run: Run,
    variables: dict,
    folder: str | Path,
    *,
    dtype: str = "float32",
    runtime_files: str | Path | None = None,
) -> None:
    """Writes ``index.html``, ``model.onnx`` and ``about.json`` into a folder.

    Args:
      run: config and classes.
      variables: parameters and batch statistics, on the host.
      folder: where to write; it is empty, or an earlier page or what is left of one.
      dtype: as for `onnx_bytes`.
      runtime_files: folder with `RUNTIME_FILES`; None looks where ``npm install
        onnxruntime-web`` puts them, and if they are not there, says so in the log.

    Raises:
      ValueError: if the folder has other files, `runtime_files` lacks one, or the model
        is not for RGB of 8 bits; or as for `onnx_bytes`.
    """
    folder = Path(folder)
    _require_own(folder)
    _require_rgb(run)
    runtime = _runtime(runtime_files)
    model = onnx_bytes(
        run, variables, dtype=dtype, without_default=("score_thresholds",)
    )
    _copy(_PAGE, folder)  # First: what an export leaves that fails is known by it.
    with replacing(folder / "model.onnx") as temporary:
        temporary.write_bytes(model)
    write_json(folder / "about.json", {"class_names": list(run.class_names)})
    if runtime is not None:
        for name in RUNTIME_FILES:
            _copy(runtime / name, folder)


def _copy(file: Path, folder: Path) -> None:
    with replacing(folder / file.name) as temporary:
        shutil.copyfile(file, temporary)


def _require_rgb(run: Run) -> None:
    if Pixels.of(run.config.data) != RGB:
        raise ValueError(
            "a page shows RGB pictures of 8 bits to the model, and this one has "
            "channels or a window of its own, in config.data; export an .onnx or "
            ".stablehlo file."
        )


def _require_own(folder: Path) -> None:
    """Refuses a folder in which something else could be lost."""
    if folder.exists() and not folder.is_dir():
        raise _no_page(folder, "it is a file")
    there = set(folder.glob("*"))
    made = {folder / name for name in _MADE}
    copied = {folder / name for name in RUNTIME_FILES}
    others = there - made - copied - left_overs(there, made | copied)
    if others:
        raise _no_page(folder, f"it has {min(others).name}")
    page = folder / _PAGE.name
    pages = {page, *left_overs(there, [page])} & there
    if there & made and not any(map(_is_page, pages)):
        what = f"{page.name} is not" if page in there else f"there is no {page.name}"
        raise _no_page(folder, f"{what} of an export")


def _no_page(folder: Path, why: str) -> ValueError:
    return ValueError(
        f"`output` {folder} is no folder of a page: {why}; give a new one."
    )


def _is_page(file: Path) -> bool:
    return file.is_file() and any(mark in file.read_bytes() for mark in _MARKS)


def _runtime(given: str | Path | None) -> Path | None:
    folder = _RUNTIME if given is None else Path(given)
    missing = [name for name in RUNTIME_FILES if not (folder / name).is_file()]
    if not missing:
        return folder
    if given is not None:
        raise ValueError(f"`runtime_files` {given} has no {missing[0]}.")
    _LOGGER.warning(
        "%s has no onnxruntime-web: copy %s beside index.html, or npm install "
        "onnxruntime-web here and export again.",
        folder.parent.parent,
        ", ".join(RUNTIME_FILES),
    )
    return None

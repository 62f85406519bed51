"""What takes files and words from outside: each target makes one input and uses it.

A target raises `ValueError` or `OSError` to refuse an input, in sentences.  Anything
else that it raises is a fault, `AssertionError` for what was accepted but is not right.
"""

import contextlib
import dataclasses
import io
import json
import pathlib
import random
import shutil
import struct
from collections.abc import Callable

import cv2
import jax.numpy as jnp
import numpy as np
import simplejpeg
from PIL import Image
from safetensors.numpy import save

from tests.fuzz.works_to_the_end import works_to_the_end
from tests.helpers import mutations, run_folder
from tests.helpers.coco_folder import CocoFolder
from yolact_jax import cli
from yolact_jax.config import Config, from_config_dict
from yolact_jax.data.images import decode_image
from yolact_jax.data.sources.coco_builder import prepare_coco
from yolact_jax.data.sources.coco_json import read_coco
from yolact_jax.run import checkpoint
from yolact_jax.run.variables import load_variables
from yolact_jax.weights.files import read_metadata, read_weights
from yolact_jax.zoo.specs import spec

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
Attempt = Callable[[random.Random], None]


def images(folder: pathlib.Path) -> Attempt:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (8, 12, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    deep = pixels.astype(np.uint16) * 257
    sources = [simplejpeg.encode_jpeg(pixels), simplejpeg.encode_jpeg(pixels[:9, :9])]
    sources += [cv2.imencode(".png", x)[1].tobytes() for x in (pixels, deep)]
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"PNG": {"exif": exif}, "JPEG": {"exif": exif}, "TIFF": {}, "WEBP": {}}
    for name, option in options.items():
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, name, **option)
        sources.append(stream.getvalue())
    palette = io.BytesIO()
    Image.fromarray(pixels).quantize(16).save(palette, "PNG")
    sources.append(palette.getvalue())

    def attempt(rng: random.Random) -> None:
        data = rng.choice(sources)
        for _ in range(rng.choice((1, 1, 3))):
            data = rng.choice(mutations.BYTES)(rng, data) or b"x"
        image = decode_image(data, name="fuzz", max_pixels=10**6)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.size

    return attempt


def annotations(folder: pathlib.Path) -> Attempt:
    coco = CocoFolder(folder / "coco").write()
    whole = coco.file.read_text()

    def attempt(rng: random.Random) -> None:
        content = json.loads(whole)
        for _ in range(rng.choice((1, 1, 2, 4))):
            mutations.mutate(content, rng)
        coco.file.write_bytes(mutations.written(json.dumps(content), rng))
        skip_bad = bool(rng.randrange(2))
        works_to_the_end(read_coco(coco.file, coco.images, skip_bad=skip_bad))

    return attempt


def labels(folder: pathlib.Path) -> Attempt:
    from tests.data.importers.test_reader_accepts import MAKERS, check

    def attempt(rng: random.Random) -> None:
        if not check(folder, rng.choice(list(MAKERS)), rng.randrange(10**9))[0]:
            raise ValueError("nothing was written.")

    return attempt


def in_header(rng: random.Random, data: bytes) -> bytes:
    """Replaces a field of a safetensors header."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    mutations.mutate(header, rng)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def weights(folder: pathlib.Path) -> Attempt:
    arrays = {"a.weight": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float16)}
    legacy, archive = (
        (GOLDEN / f"torch_{kind}.pth").read_bytes() for kind in ("legacy", "zip")
    )
    names = {"class_names": '["x"]', "category_ids": "[1]"}
    inside, header = [mutations.inside_zip] * 3, [in_header] * 2
    sources = (
        (".pth", legacy, mutations.BYTES),
        (".pth", archive, (*mutations.BYTES, *inside)),
        (".safetensors", save(arrays, names), (*mutations.BYTES, *header)),
    )

    def attempt(rng: random.Random) -> None:
        suffix, data, ways = rng.choice(sources)
        path = folder / f"fuzz{suffix}"
        path.write_bytes(rng.choice(ways)(rng, data))
        with naming(path.name):
            read_metadata(path)
            for array in read_weights(path).values():
                array.astype(np.float64).sum()

    return attempt


@contextlib.contextmanager
def naming(name: str):
    """Within, errors have to name the file."""
    try:
        yield
    except (ValueError, OSError) as error:
        if name not in str(error):
            raise AssertionError(f"{name} is not in: {error}") from error
        raise


def variables(folder: pathlib.Path) -> Attempt:
    run_folder.make(folder / "run")
    path = folder / "run" / "checkpoints" / "3" / "variables" / "arrays.npz"
    whole = path.read_bytes()
    kernel = run_folder.ARRAYS["params/a/kernel"]

    def attempt(rng: random.Random) -> None:
        way = rng.choice((*mutations.BYTES, *[mutations.inside_zip] * 4))
        path.write_bytes(way(rng, whole))
        with naming("Checkpoint 3"):
            found = load_variables(folder / "run", 3)
        # Whoever writes the checksums anew can write other values.
        if way is not mutations.inside_zip:
            np.testing.assert_array_equal(found["params"]["a"]["kernel"], kernel)

    return attempt


def training_state(folder: pathlib.Path) -> Attempt:
    whole = folder / "whole"
    like = {"params": {"a": jnp.arange(300.0)}, "count": jnp.int32(0)}
    with checkpoint.open_manager(whole) as manager:
        for step in (1, 2):
            state = {"params": {"a": like["params"]["a"] + step}, "count": step}
            state["count"] = jnp.int32(step)
            checkpoint.save(manager, step, state, {"step": step})

    def attempt(rng: random.Random) -> None:
        damaged = folder / "damaged"
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(whole, damaged)
        files = (damaged / "checkpoints" / "2").rglob("*")
        path = rng.choice(sorted(p for p in files if p.is_file()))
        way = rng.choice((*mutations.BYTES, lambda rng, data: b""))
        path.write_bytes(way(rng, path.read_bytes() or b"x"))
        with checkpoint.open_manager(damaged) as manager:
            state, notes = checkpoint.restore_newest(manager, like)
        step = int(state["count"])
        assert step in (1, 2)
        assert notes == {"step": step}
        np.testing.assert_array_equal(state["params"]["a"], like["params"]["a"] + step)
        if step == 1:
            raise ValueError("Checkpoint 2 is put aside.")

    return attempt


def records(folder: pathlib.Path) -> Attempt:
    from tests.data.records.test_damage import change, read_all

    coco = CocoFolder(folder / "coco").write()
    dataset = prepare_coco(data_dir=folder / "records", **coco.arguments())
    whole = read_all(dataset.directory)

    def attempt(rng: random.Random) -> None:
        damaged = folder / "damaged" / "1.0.0"
        shutil.rmtree(damaged.parent, ignore_errors=True)
        shutil.copytree(dataset.directory, damaged)
        path = rng.choice(sorted(damaged.glob("*")))
        change(path, rng)
        with naming(f"delete the folder {damaged}"):
            found = read_all(damaged)
        if path.suffix != ".json":  # Only the records have checksums.
            assert found == whole

    return attempt


def config(folder: pathlib.Path) -> Attempt:
    whole = json.dumps(dataclasses.asdict(spec("shapes")))

    def attempt(rng: random.Random) -> None:
        values = json.loads(whole)
        for _ in range(rng.choice((1, 2))):
            mutations.mutate(values, rng)
        with naming("config"):
            accepted = from_config_dict(values)
        again = json.loads(json.dumps(dataclasses.asdict(accepted)))
        assert from_config_dict(again) == accepted
        for name, section in values.items():
            for field, value in section.items():
                kept = again[name][field]
                assert kept == value, (name, field, kept, value)

    return attempt


WORDS = (
    *("", "-", "--", "nan", "-1", "1e999", "9" * 400, "shapes", "None", "[]", "(1, 2"),
    *("\udcff", "x" * 5000, "a,b", "true", "{'a': 1}", "()", "0.5", "/dev/null", "\0"),
)


def flags(folder: pathlib.Path) -> Attempt:
    from yolact_jax.tools.commands.main import NAMES, command_of

    fields = [f"config.{field}" for field in Config().flat()]
    known = ["config", "workdir", "weights", "output", "source", "step", "split"]
    known += [
        "nms",
        "class_names",
        "max_images",
        "score_threshold",
        "plan",
        "process_id",
    ]
    run = folder / "run"
    run_folder.make(run)
    bad = folder / "bad.py"

    def build(values) -> None:
        if getattr(values, "config", None) is not None:
            from_config_dict(values.config)

    def attempt(rng: random.Random) -> None:
        text = (GOLDEN.parents[1] / "configs" / "shapes.py").read_bytes()
        bad.write_bytes(rng.choice(mutations.BYTES)(rng, text))
        words = rng.choice(
            [["--config=shapes"], [f"--workdir={run}"], [f"--config={bad}"], []]
        ).copy()
        for _ in range(rng.randrange(4)):
            name = rng.choice((*known, *known, *fields, rng.choice(WORDS)))
            word = f"--{name}{rng.choice(('=', '=', '=', ' ', ''))}{rng.choice(WORDS)}"
            words += word.split(" ")
        command = dataclasses.replace(command_of(rng.choice(NAMES)), run=build)
        said, out = io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(out):
            status = cli.execute(command, words, "fuzz")
        text = said.getvalue()
        assert (status == 0) == (not text), (status, text)
        if text:
            assert text.startswith("fuzz: ")
            raise ValueError(text.removeprefix("fuzz: ").strip())

    return attempt


def run_files(folder: pathlib.Path) -> Attempt:
    whole = folder / "whole"
    run_folder.make(whole)

    def attempt(rng: random.Random) -> None:
        damaged = folder / "run"
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(whole, damaged)
        name = rng.choice((*run_folder.NEEDED, *run_folder.INFORMATIVE))
        path = damaged / name
        if path.suffix == ".json" and rng.randrange(2):
            content = json.loads(path.read_text())
            mutations.mutate(content, rng)
            path.write_bytes(mutations.written(json.dumps(content), rng))
        else:
            path.write_bytes(rng.choice(mutations.BYTES)(rng, path.read_bytes()))
        needed = name in run_folder.NEEDED
        with naming(str(damaged) if needed else "nothing refuses the run"):
            run_folder.predict(damaged)
            run_folder.resume(damaged)

    return attempt


TARGETS: dict[str, Callable[[pathlib.Path], Attempt]] = {
    "images": images,
    "annotations": annotations,
    "labels": labels,
    "weights": weights,
    "variables of a checkpoint": variables,
    "state of a training": training_state,
    "records": records,
    "config": config,
    "flags and config files": flags,
    "files of a run": run_files,
}
"""Name -> what prepares a folder and returns the attempt."""

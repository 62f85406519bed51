import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from yolact_jax.results.folder import results_folder

CATEGORIES = [{"id": 7, "name": "dog"}]


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / name for name in ("a.jpg", "b.png")]
    for path in paths:
        path.write_text(f"the user's {path.name}")
    return paths


def run(folder, sources, **options):
    """Writes a picture of each source, and one object in it."""
    with results_folder(folder, sources, CATEGORIES, **options) as results:
        for path in sources:
            results.pictures[path].write_text(f"drawing of {path.name}")
            results.add(path, (40, 60), [{"category_id": 7, "score": 0.5}])


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_everything_is_numbered_and_named(sources, tmp_path):
    run(tmp_path / "out", sources)
    assert sorted(contents(tmp_path / "out")) == ["a.png", "b.png", "detections.json"]
    found = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert found["images"] == [
        {"id": 1, "file_name": "a.jpg", "height": 40, "width": 60, "picture": "a.png"},
        {"id": 2, "file_name": "b.png", "height": 40, "width": 60, "picture": "b.png"},
    ]
    pairs = [(entry["id"], entry["image_id"]) for entry in found["annotations"]]
    assert pairs == [(1, 1), (2, 2)]
    assert found["categories"] == CATEGORIES


@pytest.mark.parametrize("overwrite", [False, True])
def test_source_is_never_overwritten(sources, overwrite):
    before = contents(sources[0].parent)
    with pytest.raises(ValueError, match=r"b\.png would be .* is an image of the sour"):
        run(sources[0].parent, sources, overwrite=overwrite)
    assert contents(sources[0].parent) == before


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_links_to_a_source_are_the_source(sources, tmp_path, link):
    run(tmp_path / "out", sources)
    (tmp_path / "out" / "b.png").unlink()
    link(sources[0], tmp_path / "out" / "b.png")
    with pytest.raises(ValueError, match=r"b\.png would be .* is an image of the sour"):
        run(tmp_path / "out", sources, overwrite=True)
    assert sources[0].read_text() == "the user's a.jpg"


@pytest.mark.parametrize("overwrite", [False, True])
def test_picture_of_someone_else_stays(sources, tmp_path, overwrite):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("holiday")
    with pytest.raises(ValueError, match=r"a\.png would be .* is no earlier predict"):
        run(tmp_path / "out", sources, overwrite=overwrite)
    assert contents(tmp_path / "out") == {"a.png": "holiday"}


@pytest.mark.parametrize("name", ["detections.json", "detections.partial.jsonl"])
@pytest.mark.parametrize("text", ["", "[]", '{"info": {}}', "[" * 9999, "\x00{"])
def test_detections_of_someone_else_stay(sources, tmp_path, name, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(text)
    with pytest.raises(ValueError, match="was not written by a prediction"):
        run(tmp_path / "out", sources, overwrite=True)
    assert contents(tmp_path / "out") == {name: text}


def test_own_results_are_replaced_if_asked_for(sources, tmp_path):
    out = tmp_path / "out"
    run(out, sources)
    with pytest.raises(ValueError, match=r"has a detections\.json already"):
        run(out, sources)
    (out / "a.png").write_text("old")
    run(out, sources[1:], overwrite=True)
    assert (out / "a.png").read_text() == "old"
    run(out, sources, overwrite=True)  # It is still known whose a.png is.
    assert (out / "a.png").read_text() == "drawing of a.jpg"


def test_partial_file_is_not_written_through_a_link(sources, tmp_path):
    run(tmp_path / "first", sources)
    own = tmp_path / "first" / "detections.json"
    before = own.read_text()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "detections.partial.jsonl").symlink_to(own)
    run(tmp_path / "out", sources, overwrite=True)
    assert own.read_text() == before


def test_error_keeps_what_is_done(sources, tmp_path):
    def fail_after_one():
        with results_folder(tmp_path / "out", sources, CATEGORIES) as results:
            results.add(sources[0], (4, 6), [{"category_id": 7}])
            raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        fail_after_one()
    found = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [entry["file_name"] for entry in found["images"]] == ["a.jpg"]
    assert sorted(contents(tmp_path / "out")) == ["detections.json"]


def get_nowhere(folder, sources):
    """Ends while the first image is written, over earlier results."""
    with (
        contextlib.suppress(KeyboardInterrupt),
        results_folder(folder, sources, CATEGORIES, overwrite=True) as results,
    ):
        results.pictures[sources[0]].write_text("half of a drawing")
        raise KeyboardInterrupt


def test_a_call_that_gets_nowhere_leaves_earlier_results(sources, tmp_path):
    out = tmp_path / "out"
    run(out, sources[1:])
    before = contents(out)
    with results_folder(out, sources, CATEGORIES, overwrite=True):
        pass
    assert contents(out) == before
    get_nowhere(out, sources)
    assert contents(out) == before
    run(out, sources, overwrite=True)
    assert (out / "a.png").read_text() == "drawing of a.jpg"


def test_a_call_that_gets_nowhere_leaves_what_a_killed_one_found(sources, tmp_path):
    out, line = tmp_path / "out", '{"image": {"id": 1, "file_name": "b.png"}}\n'
    out.mkdir()
    info = {"description": "Predictions of yolact_jax", "pictures": ["a.png", "b.png"]}
    head = json.dumps({"info": info, "categories": []}) + "\n"
    partial = out / "detections.partial.jsonl"
    partial.write_text(head + line + line[:20])
    (out / "b.png").write_text("drawing")
    get_nowhere(out, sources)
    assert sorted(contents(out)) == ["b.png", "detections.json"]
    found = json.loads((out / "detections.json").read_text())
    assert found["images"] == [{"id": 1, "file_name": "b.png"}]
    assert found["annotations"] == []
    partial.write_text(head)  # Of a call that was killed before its first image.
    get_nowhere(out, sources)
    assert json.loads((out / "detections.json").read_text()) == found


def test_killed_process_leaves_a_line_for_every_image(sources, tmp_path):
    code = f"""
    import os, pathlib, signal
    from yolact_jax.results.folder import results_folder
    sources = [pathlib.Path(path) for path in {[str(path) for path in sources]}]
    with results_folder({str(tmp_path / "out")!r}, sources, []) as results:
        results.pictures[sources[0]].write_text("drawing")
        results.add(sources[0], (4, 6), [{{"category_id": 7}}])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    partial = tmp_path / "out" / "detections.partial.jsonl"
    _, line = map(json.loads, partial.read_text().splitlines())
    assert line["image"]["file_name"] == "a.jpg"
    assert line["annotations"] == [{"category_id": 7, "id": 1, "image_id": 1}]
    with pytest.raises(ValueError, match=r"has a detections\.partial\.jsonl already"):
        run(tmp_path / "out", sources)
    run(tmp_path / "out", sources, overwrite=True)
    assert not partial.exists()
    assert (tmp_path / "out" / "a.png").read_text() == "drawing of a.jpg"


def test_output_that_cannot_be_written_is_one_sentence(sources, tmp_path):
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file" / "out", Path("/proc/none")):
        with pytest.raises(ValueError, match=rf"`output` {output} cannot be written"):
            run(output, sources)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_one_sentence(sources, tmp_path):
    message = "cannot be written: .*No space left"
    with (
        pytest.raises(ValueError, match=message),
        results_folder(tmp_path / "out", sources, []),
        open("/dev/full", "w") as file,
    ):
        file.write("x")

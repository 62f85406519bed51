"""Files that only inform never stop a run; those that are needed are named."""

import io
import json
import shutil
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import run_folder
from yolact_jax.run import checkpoint
from yolact_jax.run.best import Evaluations
from yolact_jax.run.folder import load_run
from yolact_jax.run.metrics import append_row, keep_rows, read_rows
from yolact_jax.run.variables import choose_step, load_variables
from yolact_jax.training.monitor.bad_batches import (
    BadBatches,
    load_bad_batch,
    saved_steps,
)

CONTENTS = {
    "empty": b"",
    "cut": b'{"model": {"fea',
    "list": b"[1]",
    "text": b'"x"',
    "null": b"null",
    "deep": b"[" * 100_000,
    "deep object": b'{"step":' * 100_000 + b"1" + b"}" * 100_000,
    "binary": bytes(range(256)),
    "huge number": b'{"step": 1' + b"0" * 5000 + b', "2": 1e999}',
    "odd values": b'{"step": 1.5, "2": "x", "-1": 0.1, "\xc2\xb2": 0.2, "4": [1]}',
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "run"
    run_folder.make(folder)
    return folder


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made, tmp_path / "run")


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("name", run_folder.INFORMATIVE)
def test_what_only_informs_is_ignored_with_a_warning(run, name, content, caplog):
    (run / name).write_bytes(content)
    run_folder.predict(run)
    run_folder.resume(run)
    assert Evaluations(run).best() == 4
    assert read_rows(run)[-1] == {"step": 4, "train/loss": 1.0}
    # A lock is empty when all went well, and a last line that was cut is usual.
    is_usual = {
        "run.lock": True,
        "metrics.jsonl": b"\n" not in content,
        "versions.json": content is CONTENTS["odd values"],
        "changes.json": content is CONTENTS["odd values"],
    }
    told = any(str(run / name) in message for message in caplog.messages)
    assert told != is_usual.get(name, False)


@pytest.mark.parametrize("content", [*CONTENTS.values(), b"{}"], ids=[*CONTENTS, "{}"])
@pytest.mark.parametrize("name", run_folder.NEEDED)
def test_what_is_needed_is_named_with_the_cure(run, name, content):
    (run / name).write_bytes(content)
    for use in (run_folder.predict, run_folder.resume):
        with pytest.raises(ValueError, match=r"\. Put a copy of the file back") as told:
            use(run)
        text = str(told.value)
        assert str(run / name) in text
        assert len(text) < 700
        assert "\n" not in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("class_names", ["a", 3]),
        ("class_names", []),
        ("class_names", ["a"]),
        ("category_ids", [True, 7]),
        ("category_ids", "17"),
        ("fingerprint", None),
    ],
)
def test_damaged_classes_are_refused(run, field, value):
    content = json.loads((run / "dataset.json").read_text())
    (run / "dataset.json").write_text(json.dumps(content | {field: value}))
    with pytest.raises(ValueError, match=r"dataset\.json is damaged"):
        load_run(run)


def test_lines_that_are_no_rows_stay_but_for_a_cut_one(run):
    path = run / "metrics.jsonl"
    whole = path.read_bytes()
    first, second = whole.splitlines()
    odd = [b"\xff\x00", b"", b'{"step": "x"}', b'{"step": 1, "a": [3]}', b"note"]
    path.write_bytes(b"\n".join([odd[0], first, *odd[1:], second, b'{"step": 3, "tr']))
    assert read_rows(run) == [json.loads(first), json.loads(second)]
    assert keep_rows(run, 2, evaluates=False) == 1
    assert path.read_bytes() == b"\n".join([odd[0], first, *odd[1:], b""])


def test_a_row_behind_a_cut_line_is_kept(run):
    path = run / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    row = append_row(run, 9, {"eval/mask_AP": 0.25})
    steps = [found["step"] for found in read_rows(run)]
    assert steps == [2, 9]
    assert read_rows(run)[-1] == row


def test_good_entries_beside_odd_ones_count(run, caplog):
    (run / "evaluations.json").write_text('{"2": 0.5, "3": "x", "x": 0.9, "1": null}')
    evaluations = Evaluations(run)
    assert evaluations.best() == 2
    assert 1 in evaluations
    assert 3 not in evaluations
    assert "2 entries are not used" in caplog.text


@pytest.mark.parametrize("name", ["\xb2", "007", "\u0663", "-5", "9.tmp", "1_0"])
def test_only_plain_numbers_are_steps(run, name):
    (run / "checkpoints" / name).mkdir()
    assert choose_step(run) == 3


@pytest.mark.parametrize("lost", ["3/variables/arrays.npz", "3/variables"])
def test_latest_that_lost_its_arrays_is_told_and_not_replaced(run, lost):
    path = run / "checkpoints" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=r"Checkpoint 3 .*--step can be .*\[2\]"):
        load_variables(run, choose_step(run, "latest"))
    load_variables(run, 2)


@pytest.mark.parametrize("lost", ["_CHECKPOINT_METADATA", ".", "rest"])
def test_training_tells_that_it_takes_an_older_step(lost, tmp_path, caplog):
    state = {"params": {"a": jnp.ones(3)}, "count": jnp.int32(0)}
    with checkpoint.open_manager(tmp_path) as manager:
        for step in (1, 2):
            checkpoint.save(manager, step, state | {"count": jnp.int32(step)})
    path = tmp_path / "checkpoints" / "2" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if lost == ".":
        path.mkdir()
    with checkpoint.open_manager(tmp_path) as manager:
        restored, _ = checkpoint.restore_newest(manager, state)
    assert restored["count"] == 1
    assert "Checkpoint 2 in" in caplog.text
    assert "put aside" in caplog.text


def test_arrays_that_claim_more_than_their_file_are_refused(run):
    path = run / "checkpoints" / "3" / "variables" / "arrays.npz"
    claim = np.lib.format.header_data_from_array_1_0(np.zeros(3, np.float32))
    claim["shape"] = (2**40,)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("params/a.npy", header.getvalue())
    with pytest.raises(ValueError, match=r"params/a claims \(1099511627776,\)"):
        load_variables(run, 3)


def test_arrays_within_arrays_are_refused(run):
    variables = run / "checkpoints" / "3" / "variables"
    np.savez(variables / "arrays.npz", **{"params": np.ones(2), "params/a": np.ones(2)})
    with pytest.raises(ValueError, match=r"Checkpoint 3 in .* is damaged"):
        load_variables(run, 3)


def test_odd_files_among_bad_batches_are_told(tmp_path):
    bad = BadBatches(tmp_path, limit=9, seed=0, notes={})
    batch = {"image_ids": np.arange(2), "images": np.zeros((2, 64, 64, 3), np.uint8)}
    (tmp_path / "bad_batches").mkdir()
    (tmp_path / "bad_batches" / "notes.npz").write_bytes(b"")
    bad.note(5, {"train/skipped": 1.0, "train/loss": float("nan")}, batch)
    assert saved_steps(tmp_path) == [5]
    np.testing.assert_array_equal(
        load_bad_batch(tmp_path, 5)[0]["images"], batch["images"]
    )
    (tmp_path / "bad_batches" / "7.npz").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"bad_batches/7\.npz is damaged"):
        load_bad_batch(tmp_path, 7)

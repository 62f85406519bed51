"""The picture of a run is drawn from whatever rows there are."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from yolact_jax.run import metrics
from yolact_jax.training.monitor import curves

VERMILION = (213, 94, 0)  # of the third line: class losses, or box AP


def draw(folder, rows):
    for step, values in rows:
        metrics.append_row(folder, step, values)
    curves.write_curves(folder)
    return cv2.imread(str(folder / "curves.png"))[..., ::-1]


def where(picture, color):
    """Rows and columns of a color."""
    return np.nonzero((np.abs(picture.astype(int) - color) < 30).all(-1))


def losses(values):
    return [
        (step, {"train/loss": 9.0, "train/box": 9.0, "train/class": value})
        for step, value in enumerate(values, start=1)
    ]


def line_of(picture):
    """The line of the class losses, without the legend at the right."""
    rows, columns = where(picture[:, : int(0.86 * picture.shape[1])], VERMILION)
    return rows, columns


@pytest.mark.parametrize("count", [100, 10_000])
def test_an_exponential_course_is_straight(count, tmp_path):
    rows, columns = line_of(draw(tmp_path, losses(10 ** -np.linspace(0, 3, count))))
    assert np.ptp(columns) > 500
    slope, offset = np.polyfit(columns, rows, 1)
    assert slope > 0.3
    assert np.abs(rows - (slope * columns + offset)).max() < 8


@pytest.mark.parametrize("count", [100, 10_000])
def test_nulls_leave_a_gap(count, tmp_path):
    values = np.linspace(2, 1, count)
    whole = np.unique(line_of(draw(tmp_path, losses(values)))[1])
    assert np.diff(whole).max() == 1
    values[count // 3 : count // 2] = np.nan
    (tmp_path / "metrics.jsonl").unlink()
    parted = np.unique(line_of(draw(tmp_path, losses(values)))[1])
    assert np.diff(parted).max() > 60
    assert np.ptp(parted) == np.ptp(whole)


@pytest.mark.parametrize(
    "values", [[], [1.0], [float("nan")], [0.0], [0.0, 0.5], [3e38]]
)
def test_few_values_or_none_that_a_logarithm_has(values, tmp_path):
    picture = draw(tmp_path, losses(values))
    assert picture.shape[1] == 960
    shown = [v for v in values if v > 0]
    assert bool(len(line_of(picture)[0])) == bool(shown)


def test_an_evaluation_adds_a_panel(tmp_path):
    alone = draw(tmp_path, losses([1.0, 0.5]))
    row = {"eval/mask_AP": 0.3, "eval/mask_AP50": float("nan"), "eval/box_AP": 0.2}
    both = draw(tmp_path, [(2, row)])
    assert both.shape == (2 * alone.shape[0], *alone.shape[1:])
    assert len(where(both[alone.shape[0] :], VERMILION)[0])


def test_a_step_that_is_evaluated_again_changes_nothing(tmp_path):
    rows = [(step, {"eval/box_AP": 0.1 * step}) for step in (1, 2, 3, 4)]
    once = draw(tmp_path, rows)
    np.testing.assert_array_equal(draw(tmp_path, rows[1:2]), once)


def test_a_failed_picture_leaves_the_one_before(tmp_path, monkeypatch):
    before = draw(tmp_path, losses([1.0]))

    def fail(self, file, **options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        curves.write_curves(tmp_path)
    after = cv2.imread(str(tmp_path / "curves.png"))[..., ::-1]
    np.testing.assert_array_equal(after, before)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"metrics.jsonl", "curves.png"}


def test_importing_is_quick_and_drawing_leaves_no_global_state(tmp_path):
    code = (
        "import sys; from yolact_jax.training.monitor import curves;"
        "assert 'matplotlib' not in sys.modules; curves.write_curves(sys.argv[1]);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    assert (tmp_path / "curves.png").is_file()

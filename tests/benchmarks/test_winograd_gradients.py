"""Errors of gradients are measured against float64, tensor by tensor."""

import numpy as np

from benchmarks import winograd_gradients


def test_rows_compare_both_errors_and_leave_rounding_out(monkeypatch):
    exact = {"a": np.array([3.0, 4.0]), "b": np.array([1.0]), "noise": np.array([1e-9])}
    off = {"yes": (0.5, 0.01), "no": (0.1, 0.02)}

    def gradient(options, name, winograd):
        first, second = off[winograd]
        return {
            "a": exact["a"] + [first, 0],
            "b": exact["b"] - second,
            "noise": exact["noise"] * 9,
        }

    monkeypatch.setattr(winograd_gradients, "gradient", gradient)
    monkeypatch.setattr(winograd_gradients, "in_float64", lambda *_: exact)
    rows = winograd_gradients.compare(None, "model")
    assert [row["tensor"] for row in rows] == ["a", "b"]
    assert [float(row["winograd_error"]) for row in rows] == [0.1, 0.01]
    assert [float(row["plain_error"]) for row in rows] == [0.02, 0.02]
    assert [row["ratio"] for row in rows] == [5.0, 0.5]
    assert winograd_gradients.summary(rows).startswith("1 of 2 tensors beyond 3.0")

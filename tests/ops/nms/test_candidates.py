"""The cheap test never loses an anchor that the exact one would keep."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolact_jax.ops.nms import candidates

logits = hnp.arrays(np.float32, (16, 4), elements=st.floats(-30, 30, width=32))
thresholds = st.sampled_from([0.0, 0.001, 0.05, 0.5, 0.9, 1.0])


def best_score(logits):
    wide = logits.astype(np.float64)
    scores = np.exp(wide - wide.max(-1, keepdims=True))
    return (scores[:, 1:] / scores.sum(-1, keepdims=True)).max(-1)


@hypothesis.given(logits=logits, threshold=thresholds)
def test_every_anchor_above_the_threshold_is_a_candidate(logits, threshold):
    mask = np.asarray(candidates.may_score_above(logits, threshold))
    assert np.all(mask[best_score(logits) > threshold])


def test_clear_background_is_no_candidate():
    logits = np.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]], np.float32)
    assert candidates.may_score_above(logits, 0.05).tolist() == [False, True]


def test_nan_is_left_to_the_exact_test():
    assert candidates.may_score_above(np.full((1, 3), np.nan, np.float32), 0.5)[0]


@pytest.mark.parametrize("mask", [[0, 1, 0, 1, 1], [0] * 5, [1] * 5])
@pytest.mark.parametrize("capacity", [1, 3, 5, 8])
def test_compact_lists_positions_in_order(mask, capacity):
    mask = np.array(mask, bool)
    index, valid = jax.jit(candidates.compact, static_argnums=1)(
        jnp.asarray(mask), capacity
    )
    expected = np.flatnonzero(mask)[:capacity]
    assert index.shape == valid.shape == (capacity,)
    assert index[: len(expected)].tolist() == expected.tolist()
    assert int(valid.sum()) == len(expected)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from yolact_jax.data import rle


def test_hand_made_string():
    # 5 -> "5"; 2 -> "2"; 40 = 8 + 32 -> "X" (8 with the continuation bit) and "1".
    assert rle.counts_from_string(b"52X1").tolist() == [5, 2, 40]
    # The fourth count is stored as a difference to the second: -1 is "O".
    assert rle.counts_from_string(b"52X1O").tolist() == [5, 2, 40, 1]


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 5000), max_size=30), min_size=1, max_size=5))
def test_counts_survive_compression(many):
    many = [counts or [4] for counts in many]
    strings = [rle.string_from_counts(c, (1, max(sum(c), 1))) for c in many]
    padded, lengths = rle.counts_from_strings(strings)
    for counts, row, length, string in zip(many, padded, lengths, strings, strict=True):
        assert row[:length].tolist() == counts
        assert not row[length:].any()
        assert rle.counts_from_string(string).tolist() == counts


def test_counts_agree_with_pycocotools():
    mask = np.random.default_rng(0).random((31, 17)) < 0.4
    string = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]
    counts = rle.counts_from_string(string)
    decoded = np.repeat(np.arange(len(counts)) % 2, counts).reshape(17, 31).T
    np.testing.assert_array_equal(decoded, mask)


def test_empty_string_has_no_counts():
    assert rle.counts_from_string(b"").shape == (0,)
    counts, lengths = rle.counts_from_strings([b"", b"52", b""])
    assert lengths.tolist() == [0, 2, 0]
    assert counts.tolist() == [[0, 0], [5, 2], [0, 0]]


@pytest.mark.parametrize(
    ("string", "message"),
    [(b"5 2", "character outside"), (b"52X", "middle of"), (b"o" * 13 + b"0", "60")],
)
def test_damaged_string_is_an_error(string, message):
    with pytest.raises(ValueError, match=message):
        rle.counts_from_string(string)
    with pytest.raises(ValueError, match=message):
        rle.counts_from_strings([string, b"52"])


@settings(max_examples=100)
@given(
    st.integers(1, 9),
    st.integers(1, 25),
    st.integers(0, 12),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_packed_masks_are_coded_as_pycocotools_does(
    height, width, top, first_byte, share, seed
):
    generator = np.random.default_rng(seed)
    top, left = min(top, height - 1), 8 * min(first_byte, (width - 1) // 8)
    bottom = int(generator.integers(top, height + 1))
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:] = generator.random((bottom - top, width - left)) < share
    rows = np.packbits(mask[top:bottom, left:], axis=-1)
    # What lies beyond the width is not part of the mask.
    padding = 8 * rows.shape[1] - (width - left)
    rows[:, -1:] |= generator.integers(0, 2**padding, (len(rows), 1), np.uint8)
    before = rows.copy()
    code = rle.encode_packed(rows, top, left, (height, width))
    np.testing.assert_array_equal(rows, before)
    expected = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    assert code["size"] == expected["size"]
    assert code["counts"].encode() == expected["counts"]


def test_an_empty_part_is_an_empty_mask():
    code = rle.encode_packed(np.zeros((0, 0), np.uint8), 0, 0, (4, 9))
    assert code == rle.encode(np.zeros((4, 9), bool))

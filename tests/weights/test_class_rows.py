"""Rows of a class head go by the names of classes, one by one."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from yolact_jax.weights.class_rows import with_rows_by_name
from yolact_jax.weights.state_dict import to_state_dict

THERE, HERE = ["cat", "dog", "cow"], ["dog", "emu", "cat", "yak"]
SHARED = {"dog": (1, 0), "cat": (0, 2)}  # Label in the file, label here.
ANCHORS, INPUTS = 3, 5


def heads(num_classes, seed, anchors=ANCHORS):
    rng = np.random.default_rng(seed)
    flat = {}
    for module, outputs in (
        (("head", "class"), anchors * (num_classes + 1)),
        (("semantic",), num_classes),
        (("mask_iou_net", "scores"), num_classes),
        (("head", "box"), anchors * 4),
    ):
        kernel = rng.normal(size=(1, 1, INPUTS, outputs)).astype(np.float32)
        flat["params", *module, "kernel"] = kernel
        flat["params", *module, "bias"] = kernel[0, 0, 0].copy()
    return unflatten_dict(flat)


def test_rows_of_the_same_name_are_copied_for_every_anchor():
    source, initial = heads(3, 0), heads(4, 1)
    found = with_rows_by_name(initial, initial, to_state_dict(source), THERE, HERE)
    old, before = flatten_dict(source), flatten_dict(initial)
    for path, array in flatten_dict(found).items():
        if path[-2] == "box":
            np.testing.assert_array_equal(array, before[path])
            continue
        first = int(path[-2] == "class")  # Channels of the background.
        for anchor in range(ANCHORS if first else 1):
            start_old, start = anchor * (3 + first), anchor * (4 + first)
            for label, name in enumerate(HERE):
                expected = before[path][..., start + first + label]
                if name in SHARED:
                    expected = old[path][..., start_old + first + SHARED[name][0]]
                found_row = array[..., start + first + label]
                np.testing.assert_array_equal(found_row, expected)
            if first:
                np.testing.assert_array_equal(
                    array[..., start], old[path][..., start_old]
                )


def test_equal_numbers_of_other_classes_are_told_apart():
    source, initial = heads(3, 0), heads(3, 1)
    found = with_rows_by_name(
        source, initial, to_state_dict(source), THERE, ["cow", "cat", "dog"]
    )
    old = source["params"]["semantic"]["bias"]
    np.testing.assert_array_equal(found["params"]["semantic"]["bias"], old[[2, 0, 1]])


@pytest.mark.parametrize("anchors", [1, 9])
def test_heads_with_other_anchors_start_anew(anchors):
    source, initial = heads(3, 0, anchors), heads(3, 1)
    found = with_rows_by_name(initial, initial, to_state_dict(source), THERE, THERE)
    kernel = found["params"]["head"]["class"]["kernel"]
    np.testing.assert_array_equal(kernel, initial["params"]["head"]["class"]["kernel"])

"""Frozen modules stay as they are to the bit, and the report counts them."""

import re

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from tests.helpers.runs import tiny_config
from yolact_jax import build
from yolact_jax.tools.flops import count_flops
from yolact_jax.training import freezing, memory, parts
from yolact_jax.training.loop import train
from yolact_jax.training.parts import initial_state_fn
from yolact_jax.zoo.pretrained import abstract_variables

PARAMS = {
    "backbone": {"conv": {"kernel": np.ones(6)}, "bn": {"scale": np.ones(2)}},
    "head": {"box": {"kernel": np.ones(3)}, "class": {"kernel": np.ones(4)}},
}


def test_a_module_is_frozen_with_all_inside():
    found = flatten_dict(freezing.labels(PARAMS, ["head/box"], freeze_bn=True))
    assert {path[-2]: label for path, label in found.items()} == {
        "conv": "train",
        "bn": "freeze",
        "box": "freeze",
        "class": "train",
    }


@pytest.mark.parametrize(
    ("names", "freeze_bn", "words"),
    [
        (["backbone", "head/box"], True, "backbone (8), head/box (3); 4 of 15 learn."),
        (["head"], False, "head (7); 8 of 15 learn."),
        (["head"], True, "head (7), batch normalization elsewhere (2); 6 of 15 learn."),
        (
            ["backbone/conv"],
            True,
            "backbone/conv (6), batch normalization elsewhere (2); 7 of 15 learn.",
        ),
    ],
)
def test_the_report_counts_parameters(names, freeze_bn, words):
    found = freezing.report(PARAMS, names, freeze_bn=freeze_bn)
    assert found == f"Frozen parameters: {words}"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["backbon"], "no module 'backbon'; did you mean backbone?"),
        (["head/bax"], "no module 'head/bax'; did you mean head/box?"),
        (["zzz"], "no module 'zzz'; there are backbone, head."),
        (["head/box/kernel"], "no module 'head/box/kernel'; did you mean head/box"),
        (["backbone", "head"], "with which no parameter learns; leave one"),
        (["backbone/conv", "head"], "with which no parameter learns; leave one"),
    ],
)
def test_other_names_are_refused(names, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        freezing.report(PARAMS, names, freeze_bn=True)


def test_frozen_modules_cost_no_backward_pass(tmp_path):
    config = tiny_config(tmp_path).replace({"model.freeze_bn": "yes"})
    config = config.replace({"model.winograd": "no"})
    backbone = build.make_model(config, 3).backbone
    batch = memory.abstract_batch(config, 4, None)
    images = jax.ShapeDtypeStruct(batch.images.shape, "float32")

    def flops(frozen):
        frozen_config = config.replace({"train.freeze": frozen})
        step = parts.train_step_fn(frozen_config, 3)
        state = parts.abstract_state(frozen_config, 3, None)
        return count_flops(step, state, batch, jax.random.key(0))

    variables = abstract_variables(config, 3)
    own = {name: tree["backbone"] for name, tree in variables.items()}
    forward = count_flops(
        lambda v, x: backbone.apply(v, x, use_running_average=True), own, images
    )
    # The gradients of its kernels cost what the forward pass costs, and so do those of
    # its maps, except for the images, which need none.
    saved = flops(()) - flops(("backbone",))
    assert forward < saved < 2 * forward


@pytest.mark.slow
def test_a_run_leaves_frozen_modules_and_their_statistics(tmp_path, caplog):
    caplog.set_level("INFO")
    config = tiny_config(tmp_path).replace(
        {"train.freeze": ("backbone", "fpn/lateral_p3"), "train.num_steps": 1}
    )
    trained = jax.device_get(train(config, tmp_path / "run"))
    assert "Frozen parameters: backbone (" in caplog.text
    init_key, _ = jax.random.split(jax.random.key(config.train.seed))
    start = jax.device_get(jax.jit(initial_state_fn(config, 3))(init_key))
    for path, before in flatten_dict(start.variables).items():
        after = flatten_dict(trained.variables)[path]
        frozen = path[1] == "backbone" or path[1:3] == ("fpn", "lateral_p3")
        if frozen:
            np.testing.assert_array_equal(before, after)
        elif path[-1] == "kernel":
            assert not np.array_equal(before, after), path
    other = config.replace({"train.freeze": ()})
    with pytest.raises(ValueError, match=r"another model: config\.train\.freeze was"):
        train(other, tmp_path / "run")


def test_the_modules_of_a_real_network_have_their_names(tmp_path):
    params = abstract_variables(tiny_config(tmp_path), 3)["params"]
    names = ["backbone", "fpn", "protonet", "head/mask", "semantic"]
    report = freezing.report(params, names, freeze_bn=True)
    assert all(name in report for name in names)

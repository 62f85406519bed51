"""What a session makes of its config."""

import pytest

from tests.helpers.runs import tiny_config
from yolact_jax.training import memory
from yolact_jax.training.session import make_session


def programs(config, workdir) -> list[str]:
    """The text of the programs that make the first state, and of a step."""
    session = make_session(config, workdir)
    make_state, step = session.initial_state, session.step_fn
    sharded = session.layout.sharded
    batch = memory.abstract_batch(config, config.train.batch_size, sharded)
    state = session.abstract_state()
    return [
        make_state.func.lower(**make_state.keywords).as_text(),
        step.func.lower(state, batch, **step.keywords).as_text(),
    ]


@pytest.mark.long
def test_runs_of_all_seeds_share_their_programs(tmp_path):
    config = tiny_config(tmp_path)
    first, second = (
        programs(config.replace({"train.seed": seed}), tmp_path / "run")
        for seed in (0, 1)
    )
    assert first == second


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [
        ({}, False),
        ({"model.freeze_bn": "yes"}, True),
        ({"train.freeze": ("backbone/layer1_0",)}, True),
        ({"train.freeze": ("fpn",)}, False),
        ({"model.backbone": "darknet53", "model.freeze_bn": "yes"}, False),
    ],
)
def test_normalization_that_is_frozen_at_the_start_is_told(
    tmp_path, caplog, changes, is_told
):
    make_session(tiny_config(tmp_path).replace(changes), tmp_path / "run")
    assert ("whose scale starts at 0 do not learn" in caplog.text) == is_told

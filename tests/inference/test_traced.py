"""What tracing gives is kept for later processes, and only where it is still true."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tests.zoo.test_pretrained import make_variables, tiny_config
from yolact_jax import build
from yolact_jax.inference import traced
from yolact_jax.inference.options import PredictOptions
from yolact_jax.models.mask_iou import MaskIouNet
from yolact_jax.models.resnet import Bottleneck, ResNet
from yolact_jax.zoo import pretrained
from yolact_jax.zoo.specs import SPEC_NAMES, spec

MODEL = MaskIouNet(3)
X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def no_kept_traces():
    """Here they are kept."""


@pytest.fixture(autouse=True)
def folder(no_kept_traces, tmp_path):
    traced.keep_in(tmp_path / "traces")
    yield tmp_path / "traces"
    traced.keep_in(None)


@pytest.fixture
def traces():
    """Every trace of `of`."""
    return []


@pytest.fixture
def of(traces):
    """As in a process of its own: a function that no one has traced yet."""

    def make(name="double", model=MODEL, *identity):
        def double(variables, x):
            traces.append(x.shape)
            return {"sum": jnp.sum(x) + variables["w"], "twice": 2 * x}

        return traced.Traced(jax.jit(double), name, model, *identity)

    return make


def call(function, x=X):
    return jax.device_get(function({"w": np.float32(1)}, x))


def test_a_later_process_traces_nothing_and_gets_the_same(of, traces):
    first = call(of())
    assert traces == [X.shape]
    later = call(of())
    assert traces == [X.shape]
    assert later["sum"] == first["sum"] == X.sum() + 1
    np.testing.assert_array_equal(later["twice"], 2 * X)


def test_one_function_has_a_program_for_each_shape(of, traces):
    function = of()
    for x in (X, X[:1], X):
        np.testing.assert_array_equal(call(function, x)["twice"], 2 * x)
    assert traces == [X.shape, X[:1].shape]


@pytest.mark.parametrize(
    "other", [("other", MODEL), ("double", MaskIouNet(4)), ("double", MODEL, "nms")]
)
def test_another_name_model_or_option_is_another_program(of, traces, other):
    call(of())
    call(of(*other))
    assert len(traces) == 2


@pytest.mark.parametrize("change", ["code", "precision"])
def test_other_code_and_settings_are_another_program(of, traces, change, monkeypatch):
    call(of())
    if change == "code":
        monkeypatch.setattr(traced, "_code_digest", lambda: "edited")
        call(of())
    else:
        with jax.default_matmul_precision("float32"):
            call(of())
    assert len(traces) == 2


class OwnNet(nn.Module):
    inner: nn.Module | None = None


@pytest.mark.parametrize(
    "model",
    [
        OwnNet(MODEL),
        ResNet((1, 1), block=OwnNet, width=8, deformable_interval=0),
        ResNet((1, 1), block=partial(Bottleneck), width=8, deformable_interval=0),
        dataclasses.replace(MODEL, dtype=OwnNet),
    ],
)
def test_a_model_of_other_code_is_not_kept(model, of, traces, folder):
    for _ in range(2):
        call(of("double", model))
    assert len(traces) == 2
    assert not folder.exists()


@pytest.mark.parametrize("name", SPEC_NAMES)
def test_models_of_all_configs_are_kept(name):
    assert traced._has_known_code(build.make_model(spec(name), 3))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("jax_disable_jit", True),
        ("jax_debug_nans", True),
        ("jax_default_device", jax.devices()[0]),
    ],
)
def test_settings_that_look_into_programs_keep_none(setting, value, of, folder):
    before = getattr(jax.config, setting)
    jax.config.update(setting, value)
    try:
        assert call(of())["sum"] == X.sum() + 1
    finally:
        jax.config.update(setting, before)
    assert not folder.exists()


def test_a_program_for_several_devices_is_not_kept(of, folder):
    devices = NamedSharding(Mesh(jax.devices()[:2], "b"), PartitionSpec("b"))
    function = of()
    assert call(function)["sum"] == X.sum() + 1
    (file,) = folder.iterdir()
    spread = jax.jit(lambda v, x: x + v["w"], in_shardings=(None, devices))
    exported = jax.export.export(spread)({"w": np.float32(1)}, X)
    assert exported.nr_devices == 2
    traced._write(file, exported.serialize())
    assert call(of())["sum"] == X.sum() + 1


@pytest.mark.parametrize("variables", [{"v": X}, {"other": np.float32(1)}])
def test_a_file_of_other_arguments_is_made_again(variables, of, traces, folder):
    call(of())
    (file,) = folder.iterdir()
    other = jax.export.export(jax.jit(lambda v, x: x))(variables, X)
    traced._write(file, other.serialize())
    assert call(of())["sum"] == X.sum() + 1
    assert len(traces) == 2


def test_arguments_that_are_not_used_stay_where_they_are(of):
    variables = {"w": np.float32(1), "raw": np.zeros((64, 64), np.float32)}
    for function in (of(), of()):  # Traced, and read.
        assert jax.device_get(function(variables, X))["sum"] == X.sum() + 1
        (program,) = function._programs.values()
        text = program.lower(variables, X).as_text()
        assert "module @jit_double" in text
        assert "64x64" not in text.partition("@main(")[2].partition("->")[0]


def test_only_the_newest_files_stay(of, folder, monkeypatch):
    monkeypatch.setattr(traced, "_MOST_FILES", 2)
    for name in "abc":
        call(of(name))
    assert sorted(file.name[0] for file in folder.iterdir()) == ["b", "c"]


@pytest.mark.parametrize("what", ["nothing to read", "a dangling link"])
def test_code_that_cannot_be_read_keeps_nothing(what, tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    if what == "a dangling link":
        (package / ".#edited.py").symlink_to("nowhere")
    monkeypatch.setattr(traced, "_PACKAGE", package)
    traced._code_digest.cache_clear()
    traced.keep_in(tmp_path / "traces")
    assert traced._folder is None
    traced._code_digest.cache_clear()


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_damaged_file_is_made_again(of, traces, folder, place):
    call(of())
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    data = bytearray(whole)
    data[place] ^= 1
    for count, damaged in enumerate((bytes(data), whole[: len(whole) // 2], b""), 2):
        file.write_bytes(damaged)
        for _ in range(2):
            assert call(of())["sum"] == X.sum() + 1
        assert len(traces) == count


def test_without_a_folder_or_where_none_can_be_made_all_works(of, traces, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (None, tmp_path / "file" / "traces"):
        traced.keep_in(folder)
        assert call(of())["sum"] == X.sum() + 1


def test_errors_are_those_of_the_function(folder):
    def refuse(variables):
        raise ValueError("`w` is wrong.")

    with pytest.raises(ValueError, match="`w` is wrong"):
        traced.Traced(jax.jit(refuse), "refuse", MODEL)({})
    assert not folder.exists()


@pytest.mark.long
def test_a_prediction_is_the_same_to_the_bit(folder, monkeypatch):
    variables, image = make_variables(3, 0), np.full((40, 60, 3), 90, np.uint8)

    def found():
        build._predict_fn.cache_clear()
        build._prepare_fn.cache_clear()
        predictor = build.make_predictor(tiny_config(), variables, "abc")
        options = PredictOptions(score_threshold=0.0)
        return next(predictor.engine.stream([image], predictor.choices(options)))

    traced.keep_in(None)
    plain = found()
    assert len(plain[0].scores)
    traced.keep_in(folder)
    first = found()
    assert {"predict", "prepare"} <= {
        file.name.partition("-")[0] for file in folder.iterdir()
    }
    monkeypatch.setattr(nn.Module, "apply", None)  # Tracing would need it.
    for kept_one in (first, found()):
        jax.tree.map(np.testing.assert_array_equal, kept_one, plain)


@pytest.mark.long
def test_several_devices_keep_nothing_and_stop_no_one_who_has_one(folder):
    variables, image = make_variables(3, 0), np.full((40, 60, 3), 90, np.uint8)
    config = tiny_config().replace({"eval.candidate_threshold": 0.04})
    devices = NamedSharding(Mesh(jax.devices()[:2], "b"), PartitionSpec("b"))
    for sharding in (devices, None):
        predictor = build.make_predictor(config, variables, "abc", sharding=sharding)
        assert predictor(image) is not None
        assert len(list(folder.glob("pre*"))) == (0 if sharding else 2)


def test_variables_of_a_model_are_described_the_same(folder, monkeypatch):
    def described():
        pretrained.abstract_variables.cache_clear()
        return pretrained.abstract_variables(tiny_config(), 3)

    first = described()
    assert [file.name.partition("-")[0] for file in folder.iterdir()] == ["variables"]
    with jax.default_matmul_precision("float32"):
        described()
    old, new = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    new.unlink()
    monkeypatch.setattr(nn.Module, "init", None)
    assert described() == first
    old.write_text("{")
    monkeypatch.undo()
    assert described() == first

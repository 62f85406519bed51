"""Every published and modern config in both formats, with random weights."""

import pytest

import yolact_jax
from tests.helpers import lively
from yolact_jax import build
from yolact_jax.export.onnx.file import export_onnx
from yolact_jax.export.stablehlo import export_stablehlo
from yolact_jax.run.folder import Run
from yolact_jax.weights import classes
from yolact_jax.zoo.specs import SPEC_NAMES, spec

NAMES = [name for name in SPEC_NAMES if name.startswith(("yolact_", "modern"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_configs_find_the_same_in_both_formats(name, tmp_path):
    run = Run(spec(name), classes.COCO_NAMES, classes.COCO_IDS)
    variables = lively.variables_of(run)
    export_onnx(run, variables, tmp_path / "m.onnx")
    export_stablehlo(run, variables, tmp_path / "m.stablehlo")
    (image,) = lively.pictures((300, 400))
    direct = build.make_predictor(run.config, variables, run.class_names)
    wanted = direct.predict(image, score_threshold=0.0)
    for suffix in ("onnx", "stablehlo"):
        model = yolact_jax.load(tmp_path / f"m.{suffix}")
        found = model.predict(image, score_threshold=0.0)
        lively.assert_same_objects(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("family", lively.FAMILIES)
def test_every_family_finds_the_same_in_onnx(family, tmp_path):
    run = lively.run_of(family)
    variables = lively.variables_of(run)
    export_onnx(run, variables, tmp_path / "m.onnx")
    images = lively.pictures((148, 160), (200, 140), (60, 250))
    direct = build.make_predictor(run.config, variables, run.class_names)
    wanted = direct.predict(images, score_threshold=0.0)
    found = yolact_jax.load(tmp_path / "m.onnx").predict(images, score_threshold=0.0)
    for one, other in zip(found, wanted, strict=True):
        assert len(one)
        lively.assert_same_objects(one, other)

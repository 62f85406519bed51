"""The Colab notebook runs from top to bottom, with small settings."""

import os
import pathlib

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks" / "yolact_jax_colab.ipynb"
SMALL_SETTINGS = """
WORKDIR = "{folder}/run"
SHAPES = {{
    "data.records_dir": "{folder}/records",
    "data.shapes_train_images": 8,
    "data.shapes_validation_images": 2,
    "data.input_size": 64,
    "model.backbone_width": 8,
    "model.features": 16,
    "train.batch_size": 4,
    "train.num_steps": 2,
    "train.log_every_steps": 1,
    "optimizer.scale_with_batch": False,
}}
NMS_ARGUMENTS = ["--classes=2", "--boxes=50", "--batch=1", "--repeats=2"]
WEIGHTS = "{folder}/none.pth"
OWN_DATA = ""
"""


def test_notebook_defines_nothing_of_its_own():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert not any("def " in source or "class " in source for source in sources)
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_outside_a_checkout_the_notebook_asks_for_the_repository(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}
    )
    with pytest.raises(nbclient.exceptions.CellExecutionError) as caught:
        client.execute()
    assert caught.value.ename == "ValueError"
    assert "REPOSITORY is empty" in caught.value.evalue
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = (
        cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())
    )
    settings.source = SMALL_SETTINGS.format(folder=tmp_path)
    # Every link but the folder itself, so that nothing is written into the checkout.
    for entry in ROOT.iterdir():
        if not entry.name.startswith("."):
            os.symlink(entry, tmp_path / entry.name)
    client = nbclient.NotebookClient(
        notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    text = "".join(
        output.get("text", "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )
    assert "step 2/2" in text
    assert "Taking the model of the shapes instead" in text
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2
    assert (tmp_path / "prediction.png").is_file()
    assert list((tmp_path / "out" / "nms").glob("*.csv"))

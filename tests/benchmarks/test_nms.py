"""The benchmark of NMS keeps its table, and its baseline is greedy NMS."""

import numpy as np

from benchmarks import measurement, nms, nms_table
from tests.reference import nms as ref


def row(boxes, variant, median):
    case = {"source": "made up", "batch": 1, "boxes": boxes, "classes": 3, "top_k": 200}
    return case | {"variant": variant, "median_ms": median, "agreement": 1.0}


def test_a_sweep_in_parts_is_one_table(tmp_path):
    path = tmp_path / "nms.csv"
    measurement.write_csv(path, [row(200, "fast", 1.5), row(1000, "fast", 2.5)])
    table = nms_table.merged(path, [row(1000, "fast", 2.25), row(200, "soft", 3.5)])
    assert table == [
        row(200, "fast", 1.5),
        row(200, "soft", 3.5),
        row(1000, "fast", 2.25),
    ]


def test_numpy_baseline_is_greedy_nms():
    # The scores of the benchmark's options: above 0.05, overlaps of 0.5, 200 a class.
    boxes, scores = (x[0] for x in nms.fake_outputs(80, 3, 1))
    kept = ref.nms(
        "greedy_loop",
        boxes,
        scores,
        score_threshold=np.float32(0.05),
        iou_threshold=np.float32(0.5),
        top_k=200,
    )
    expected = [(label, anchor) for _, label, anchor in ref.best_first(kept, 100)]
    nms.flags.FLAGS.mark_as_parsed()
    assert nms.numpy_greedy(boxes, scores) == expected

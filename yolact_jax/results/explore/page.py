"""Writes the page: the image, its detections, the prototypes, and the script."""

import base64
import importlib.resources
import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from yolact_jax.config import InputFrame
from yolact_jax.results.draw import encode_picture
from yolact_jax.results.explore.suppressed import Suppressed
from yolact_jax.results.report import html
from yolact_jax.structures import Array, Detections, Predictions

_PACKAGE = "yolact_jax.results.explore"
_LARGEST_SIDE_PX = 800


def explorer_page(
    image: np.ndarray,
    detections: Detections,
    predictions: Predictions,
    class_names: Sequence[str],
    suppressed: Sequence[Suppressed],
    *,
    score_threshold: float,
    frame: InputFrame,
) -> str:
    """Makes a page in which one picks a detection and moves its coefficients.

    The page needs no other file.  Prototypes are stored as bytes.

    Args:
      image: [height, width, 3] uint8 RGB.
      detections: of the image, best first, without the B axis and padding.
      predictions: of the image, without the B axis.
      class_names: name of each label.
      suppressed: what NMS dropped.
      score_threshold: least score of a detection that is shown.
      frame: the network input.
    """
    shown, (height, width) = shrunk(image), image.shape[:2]
    rows, columns = predictions.prototypes.shape[:2]
    picture = base64.b64encode(encode_picture(shown, ".jpg")).decode()
    content = {
        "image": f"data:image/jpeg;base64,{picture}",
        "size": list(shown.shape[:2]),
        "shown": list(frame.used_cells(height, width, (rows, columns))),
        "prototypes": stored(np.asarray(predictions.prototypes, np.float32)),
        "detections": [
            {
                "name": class_names[int(detections.labels[i])],
                "label": int(detections.labels[i]),
                "score": round(float(detections.scores[i]), 4),
                "box": _rounded(detections.boxes[i]),
                "coefficients": _rounded(detections.coefficients[i]),
                "anchor": int(detections.anchor_index[i]),
            }
            for i in range(len(detections.scores))
            if detections.scores[i] >= score_threshold
        ],
        "suppressed": [
            {
                "label": one.label,
                "score": round(one.score, 4),
                "box": _rounded(one.box),
                "anchor": one.anchor,
                "by": one.by,
                "overlap": round(one.overlap, 3),
            }
            for one in suppressed
        ],
    }
    body = html.fill(_BODY, data=_embedded(content))
    script = (importlib.resources.files(_PACKAGE) / "explorer.js").read_text()
    return html.page("Masks of one image", body, style=_STYLE, script=script)


def shrunk(image: np.ndarray) -> np.ndarray:
    """The image at the size at which the page shows it."""
    scale = _LARGEST_SIDE_PX / max(image.shape[:2])
    if scale >= 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def stored(prototypes: np.ndarray) -> dict[str, Any]:
    """Prototypes [Hp, Wp, K] as bytes, each with its own range."""
    low = prototypes.min(axis=(0, 1))
    step = np.maximum(prototypes.max(axis=(0, 1)) - low, 1e-9) / 255
    levels = np.round((prototypes - low) / step).astype(np.uint8)
    return {
        "shape": list(prototypes.shape),
        "low": low.astype(float).tolist(),
        "step": step.astype(float).tolist(),
        "bytes": base64.b64encode(levels.tobytes()).decode(),
    }


def _rounded(values: Array) -> list[float]:
    return [round(value, 5) for value in np.asarray(values).tolist()]


def _embedded(content: dict[str, Any]) -> html.Markup:
    """JSON that cannot end the element it stands in."""
    return html.Markup(json.dumps(content).replace("<", "\\u003c"))


_BODY = """<div class="bar"><select id="pick"></select>
<label><input type="checkbox" id="crop" checked> crop to the box</label>
<label><input type="checkbox" id="soft"> soft mask</label>
<label><input type="checkbox" id="dropped"> suppressed boxes</label>
<button id="reset">reset</button><span id="area" class="faint"></span></div>
<canvas id="view"></canvas><p id="none" hidden>No object is above the threshold.</p>
<h2>Coefficients</h2><p class="faint">A mask is the sigmoid of the sum of prototypes
times coefficients, cut at 0.5.</p><div id="sliders"></div>
<h2>Suppressed</h2><p class="faint">Boxes of this class that NMS dropped because of this
box.</p><div class="wide"><table><thead><tr><th>score</th><th>IoU</th><th>dropped
because of</th></tr></thead><tbody id="rows"></tbody></table></div>
<script type="application/json" id="data">$data</script>
"""

_STYLE = """
.bar{display:flex;flex-wrap:wrap;gap:.4em 1.2em;align-items:center;margin:.6em 0}
#view{max-width:100%;height:auto;display:block}
#sliders{display:grid;grid-template-columns:repeat(auto-fill,minmax(118px,1fr));gap:10px}
#sliders canvas{width:100%;image-rendering:pixelated;display:block}
#sliders input{width:100%}body.bare main{padding:0;margin:0;max-width:none}
body.bare main>:not(#view){display:none}body.bare #view{max-width:none}
"""

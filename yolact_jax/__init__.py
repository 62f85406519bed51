"""YOLACT and YOLACT++ instance segmentation in JAX.

    >>> import yolact_jax
    >>> model = yolact_jax.load(run)
    >>> result = model.predict("photo.jpg")
    >>> result.save("out.png")

Importing it imports nothing else: loaders of data do so in many processes, which must
start fast and leave the accelerator alone.  Names are imported when first used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Instances", "Predictor", "__version__", "draw", "load", "track"]
_PLACES = {
    "Instances": ("results.instances", "Instances"),
    "Predictor": ("results.predictor", "Predictor"),
    "draw": ("results.draw", "draw_instances"),
    "load": ("zoo.load", "load"),
    "track": ("results.track", "track"),
}

if TYPE_CHECKING:
    from yolact_jax.results.draw import draw_instances as draw
    from yolact_jax.results.instances import Instances
    from yolact_jax.results.predictor import Predictor
    from yolact_jax.results.track import track
    from yolact_jax.zoo.load import load


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module, attribute = _PLACES[name]
    value = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

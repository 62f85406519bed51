"""Which parameters of a network learn."""

from collections.abc import Collection, Sequence
from typing import Any

import jax
from flax.traverse_util import flatten_dict, path_aware_map

from yolact_jax.config import suggestion

TRAIN, FREEZE = "train", "freeze"


def labels(params: dict, modules: Collection[str], *, freeze_bn: bool) -> dict:
    """Labels parameters that stay as they are `FREEZE`, all others `TRAIN`.

    Args:
      params: of a `Yolact`.
      modules: names such as "backbone" or "backbone/layer1_0", with all inside.
      freeze_bn: freeze all of batch normalization too.
    """
    # Only batch normalization has a parameter called `scale`, next to its `bias`.
    flat = flatten_dict(params)

    def label(path: Any, _: Any) -> str:
        is_bn = freeze_bn and (*path[:-1], "scale") in flat
        return FREEZE if is_bn or _is_inside(path, modules) else TRAIN

    return dict(path_aware_map(label, params))


def as_constants(params: dict, modules: Collection[str]) -> dict:
    """Makes the parameters of frozen modules constants, whose gradient is 0.

    So no backward pass is computed for them.  Frozen batch normalization has no
    gradient in any case, see `models.batch_norm.FrozenBatchNorm`.

    Args:
      params: of a `Yolact`.
      modules: as for `labels`.
    """

    def constant(path: Any, value: Any) -> Any:
        is_frozen = _is_inside(path, modules)
        return jax.lax.stop_gradient(value) if is_frozen else value

    return dict(path_aware_map(constant, params))


def report(params: dict, modules: Sequence[str], *, freeze_bn: bool) -> str:
    """Says how many parameters do not learn, and how many do.

    Args:
      params: of a `Yolact`; abstract ones will do.
      modules: as for `labels`.
      freeze_bn: as for `labels`.

    Raises:
      ValueError: if the network has no such module, or nothing is left to train.
    """
    flat: dict[Any, Any] = flatten_dict(params)
    known = {"/".join(path[:end]) for path in flat for end in range(1, len(path))}
    for name in modules:
        if name not in known:
            top = sorted(n for n in known if "/" not in n)
            close = suggestion(name, sorted(known))
            hint = close if close.startswith("did") else f"there are {', '.join(top)}."
            raise ValueError(f"config.train.freeze names no module {name!r}; {hint}")
    sizes = {path: leaf.size for path, leaf in flat.items()}
    frozen = {
        name: sum(n for path, n in sizes.items() if _is_inside(path, [name]))
        for name in modules
    }
    found = flatten_dict(labels(params, modules, freeze_bn=freeze_bn))
    left = sum(n for path, n in sizes.items() if found[path] == TRAIN)
    if not left:
        raise ValueError(
            f"config.train.freeze is {tuple(modules)}, with which no parameter learns; "
            f"leave one module to train."
        )
    norms = sum(
        n
        for path, n in sizes.items()
        if found[path] == FREEZE and not _is_inside(path, modules)
    )
    if norms:
        frozen["batch normalization elsewhere"] = norms
    listed = ", ".join(f"{name} ({count:,})" for name, count in frozen.items())
    return f"Frozen parameters: {listed}; {left:,} of {sum(sizes.values()):,} learn."


def _is_inside(path: Sequence[str], modules: Collection[str]) -> bool:
    name = "/".join(path)
    return any(name.startswith(f"{module}/") for module in modules)

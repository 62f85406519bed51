"""Published weights by name, from the Hugging Face hub."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Published:
    """Where a file of weights is published.

    Attributes:
      repository: on https://huggingface.co.
      file: in that repository.
    """

    repository: str
    file: str


_TRAINED = ("base", "im700", "darknet53", "resnet50", "plus_base", "plus_resnet50")
PUBLISHED = {
    **{
        f"yolact_{name}": Published(
            f"dbolya/yolact-{name.replace('_', '-')}", f"yolact_{name}_54_800000.pth"
        )
        for name in _TRAINED
    },
    **{
        name: Published("dbolya/yolact-initial-weights", f"{name}.pth")
        for name in ("resnet50-19c8e357", "resnet101_reducedfc", "darknet53")
    },
    "mobilenetv4_conv_small": Published(
        "timm/mobilenetv4_conv_small.e2400_r224_in1k", "model.safetensors"
    ),
}
"""Trained models, and ImageNet backbones to start training from."""

_UNPUBLISHED = {
    "yolact_im400": "was never published",
    "yolact_resnet50_pascal": "is not on the hub; the README of "
    "https://github.com/dbolya/yolact links its file",
}


def find_weights(name_or_path: str) -> Path:
    """Finds a file of weights, or downloads it if it is a published one.

    Downloads go to the cache of `huggingface_hub` and happen once.  `name_or_path` is a
    key of `PUBLISHED`, or the path of a file.

    Raises:
      ValueError: if there is no such name or file, or it cannot be downloaded.
    """
    if Path(name_or_path).is_file():
        return Path(name_or_path)
    if name_or_path in _UNPUBLISHED:
        raise ValueError(
            f"`weights` {name_or_path} {_UNPUBLISHED[name_or_path]}; give the path of "
            f"a file of your own."
        )
    if name_or_path not in PUBLISHED:
        raise ValueError(
            f"`weights` {name_or_path} is neither a file nor a published name; the "
            f"names are {', '.join(PUBLISHED)}."
        )
    return _download(name_or_path, PUBLISHED[name_or_path])


def _download(name: str, published: Published) -> Path:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError(
            f"`weights` {name} has to be downloaded, which needs the huggingface_hub "
            f'package: pip install "yolact_jax[weights]".'
        ) from error
    try:
        return Path(
            huggingface_hub.hf_hub_download(published.repository, published.file)
        )
    except Exception as error:
        # Whatever goes wrong on the way, the user can do the same by hand.
        url = f"https://huggingface.co/{published.repository}"
        raise ValueError(
            f"`weights` {name} could not be downloaded ({type(error).__name__}); "
            f"without a network, fetch {published.file} from {url} elsewhere and give "
            f"its path instead of the name."
        ) from error

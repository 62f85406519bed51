"""The YOLACT network in plain PyTorch, to compare speeds with; it has no weights.

Layer for layer that of ``yolact_jax.models`` for ``yolact_resnet50`` and
``yolact_base``, so that both do the same work.
"""

import torch
from torch import nn
from torch.nn import functional

_FEATURES = 256
_PROTOTYPES = 32
_ANCHORS_PER_CELL = 3
_NUM_CLASSES = 80
BACKBONES = {"yolact_resnet50": (3, 4, 6, 3), "yolact_base": (3, 4, 23, 3)}
"""Blocks of each stage of the backbone, by config."""


def _conv(inputs: int, outputs: int, size: int, stride: int = 1, bias: bool = True):
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=bias)


def _conv_norm(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    norm = nn.BatchNorm2d(outputs)
    return nn.Sequential(_conv(inputs, outputs, size, stride, bias=False), norm)


def _enlarge(x: torch.Tensor, size) -> torch.Tensor:
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, the stride on the 3x3."""

    def __init__(self, inputs: int, planes: int, stride: int):
        """Returns four times `planes` channels."""
        super().__init__()
        outputs = 4 * planes
        self.reduce = _conv_norm(inputs, planes, 1)
        self.middle = _conv_norm(planes, planes, 3, stride)
        self.expand = _conv_norm(planes, outputs, 1)
        # Blocks start as their shortcut, or random deep networks overflow.
        nn.init.zeros_(self.expand[1].weight)
        plain = stride == 1 and inputs == outputs
        shortcut = nn.Identity() if plain else _conv_norm(inputs, outputs, 1, stride)
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, c, h, w] to [B, 4 * planes, h / stride, w / stride]."""
        y = functional.relu(self.reduce(x))
        y = functional.relu(self.middle(y))
        return functional.relu(self.expand(y) + self.shortcut(x))


class ResNet(nn.Module):
    """Returns C3, C4, C5."""

    def __init__(self, stage_sizes: tuple[int, ...]):
        """Builds the stem and the stages."""
        super().__init__()
        self.stem = _conv_norm(3, 64, 7, 2)
        self.stages = nn.ModuleList()
        inputs = 64
        for stage, count in enumerate(stage_sizes):
            planes, blocks = 64 * 2**stage, []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Bottleneck(inputs, planes, stride))
                inputs = 4 * planes
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Maps [B, 3, H, W] to feature maps at strides 8, 16 and 32."""
        x = functional.max_pool2d(functional.relu(self.stem(images)), 3, 2, padding=1)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:]


class FPN(nn.Module):
    """Turns C3, C4, C5 into P3 to P7."""

    def __init__(self):
        """Builds lateral, smoothing and downsampling convolutions."""
        super().__init__()
        self.lateral = nn.ModuleList(_conv(c, _FEATURES, 1) for c in (512, 1024, 2048))
        self.smooth = nn.ModuleList(_conv(_FEATURES, _FEATURES, 3) for _ in range(3))
        self.downsample = nn.ModuleList(
            _conv(_FEATURES, _FEATURES, 3, 2) for _ in range(2)
        )

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Maps backbone features, finest first, to pyramid levels."""
        merged, levels = None, []
        for index in reversed(range(len(maps))):
            lateral = self.lateral[index](maps[index])
            if merged is not None:
                lateral = lateral + _enlarge(merged, lateral.shape[2:])
            merged = lateral
            levels.insert(0, functional.relu(self.smooth[index](merged)))
        for downsample in self.downsample:
            levels.append(downsample(levels[-1]))
        return levels


class ProtoNet(nn.Module):
    """Computes the prototypes from P3."""

    def __init__(self):
        """Builds four 3x3 convolutions and the last, 1x1."""
        super().__init__()
        self.convs = nn.ModuleList(_conv(_FEATURES, _FEATURES, 3) for _ in range(4))
        self.prototypes = _conv(_FEATURES, _PROTOTYPES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, c, h, w] to [B, 2h, 2w, K]."""
        for conv in self.convs[:3]:
            x = functional.relu(conv(x))
        x = _enlarge(x, (2 * x.shape[2], 2 * x.shape[3]))
        x = functional.relu(self.convs[3](x))
        return functional.relu(self.prototypes(x)).permute(0, 2, 3, 1)


class PredictionHead(nn.Module):
    """Predicts boxes, classes and coefficients of one level."""

    def __init__(self):
        """Builds the hidden convolution and one for each output."""
        super().__init__()
        self.hidden = _conv(_FEATURES, _FEATURES, 3)
        self.sizes = (4, _NUM_CLASSES + 1, _PROTOTYPES)
        self.outputs = nn.ModuleList(
            _conv(_FEATURES, _ANCHORS_PER_CELL * size, 3) for size in self.sizes
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Maps [B, c, h, w] to [B, h * w * 3, n] for n = 4, C + 1, K."""
        x = functional.relu(self.hidden(x))
        boxes, classes, coefficients = (
            conv(x).permute(0, 2, 3, 1).reshape(len(x), -1, size)
            for conv, size in zip(self.outputs, self.sizes, strict=True)
        )
        return [boxes, classes, torch.tanh(coefficients)]


class Yolact(nn.Module):
    """The whole network; in training mode with the semantic logits."""

    def __init__(self, config: str):
        """Builds the network of a config named in `BACKBONES`."""
        super().__init__()
        self.backbone = ResNet(BACKBONES[config])
        self.fpn = FPN()
        self.protonet = ProtoNet()
        self.head = PredictionHead()
        self.semantic = _conv(_FEATURES, _NUM_CLASSES, 1)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Maps [B, 3, H, W] to boxes, classes, coefficients, prototypes (, logits)."""
        levels = self.fpn(self.backbone(images))
        by_level = zip(*(self.head(level) for level in levels), strict=True)
        outputs = [torch.cat(parts, dim=1) for parts in by_level]
        outputs.append(self.protonet(levels[0]))
        return outputs + [self.semantic(levels[0])] if self.training else outputs

    def freeze_norms(self) -> None:
        """Normalizes by the stored statistics from now on, and keeps scale and bias."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval().requires_grad_(False)

"""Fields for the network and its losses, each defined once."""

import dataclasses

from yolact_jax.config.fields import Section, field

NUM_LEVELS = 5
"""Levels of the pyramid, P3 to P7, each with anchors of its own."""

_SWITCH = ("auto", "yes", "no")


@dataclasses.dataclass(frozen=True)
class Model(Section):
    """The network."""

    backbone: str = field(
        "resnet101",
        "The network below the pyramid.",
        choices=(
            "resnet18",
            "resnet50",
            "resnet101",
            "darknet53",
            "mobilenetv4_small",
        ),
    )
    backbone_width: int = field(
        64,
        "Channels of its first stage; 64 is standard, and all others in proportion.",
        above=0,
        most=4096,
    )
    features: int = field(
        256, "Channels of FPN, ProtoNet and heads.", above=0, most=16_384
    )
    num_prototypes: int = field(32, "Prototype masks per image.", above=0, most=4096)
    deformable_interval: int = field(
        0,
        "YOLACT++: every how many ResNet blocks the 3x3 convolution is deformable; "
        "0: none.",
        most=1000,
    )
    mask_iou: bool = field(False, "YOLACT++: rescore masks by their predicted IoU.")
    freeze_bn: str = field(
        "auto",
        "Keep the statistics of batch normalization while training; auto: with "
        "pretrained weights and fewer than 6 images at once, or a frozen part of the "
        "backbone, which excludes no.",
        choices=_SWITCH,
    )
    compute_dtype: str = field(
        "float32",
        "Type of the convolutions; auto: bfloat16 on TPUs and on NVIDIA's GPUs of "
        "compute capability 8.0 and more, whose matrix units have it, else float32.",
        choices=("auto", "float32", "bfloat16"),
    )
    winograd: str = field(
        "auto",
        "3x3 convolutions with a quarter of the products, to 4e-6 the same; auto: on a "
        "CPU in float32.",
        choices=_SWITCH,
    )
    remat: bool = field(
        False,
        "Compute residual blocks again for the gradient: less memory, a third more "
        "time.",
    )


@dataclasses.dataclass(frozen=True)
class Anchors(Section):
    """The boxes that predictions start from."""

    scales_px: tuple[tuple[float, ...], ...] = field(
        ((24.0,), (48.0,), (96.0,), (192.0,), (384.0,)),
        "Sides in the network input, one tuple per level P3 to P7.",
        unit="pixels",
        above=0,
        most=100_000,
        length=NUM_LEVELS,
    )
    aspect_ratios: tuple[float, ...] = field(
        (1.0, 0.5, 2.0), "Width over height.", above=0, most=1000
    )
    square: bool = field(
        True,
        "Use the width for both sides; the published weights need it, as their code "
        "did so.",
    )


@dataclasses.dataclass(frozen=True)
class Loss(Section):
    """Weights and limits of the losses."""

    box: str = field(
        "smooth_l1",
        "Loss of the boxes: of each side by itself, as published; or of their overlap, "
        "distance (diou) and shape (ciou), times 5 to be as strong.",
        choices=("smooth_l1", "diou", "ciou"),
    )
    assignment: str = field(
        "max_iou",
        "How anchors get objects: by the thresholds below, as published; or by one "
        "that adapts to each object (atss).",
        choices=("max_iou", "atss"),
    )
    overlap: str = field(
        "box",
        "What atss measures: the overlap of boxes, or also that with the mask.",
        choices=("box", "mask_aware"),
    )
    atss_candidates: int = field(
        9,
        "Cells of each level, the nearest to an object, whose anchors atss considers.",
        above=0,
        most=1000,
    )
    class_weight: float = field(1.0, "Weight of the classification loss.")
    box_weight: float = field(1.5, "Weight of the box loss.")
    mask_weight: float = field(6.125, "Weight of the mask loss.")
    semantic_weight: float = field(1.0, "Weight of the semantic segmentation loss.")
    mask_iou_weight: float = field(
        25.0, "Weight of the loss of the mask scoring network, if there is one."
    )
    min_mask_cells: float = field(
        0.0,
        "Least area of a box that its mask loss is divided by; not in the original.",
        unit="prototype pixels",
    )
    min_mask_area: int = field(
        25, "Area above which masks teach that network.", unit="prototype pixels"
    )
    negative_ratio: int = field(3, "Hard negatives per positive anchor.", most=100_000)
    empty_negatives: int = field(
        0,
        "Hard negatives in an image without objects, which else have no class loss; "
        "not in the original.",
        most=100_000,
    )
    max_masks: int = field(
        100, "Positive anchors per image in the mask loss.", above=0, most=100_000
    )
    positive_iou: float = field(
        0.5, "Least overlap of a positive anchor, with max_iou.", most=1
    )
    negative_iou: float = field(
        0.4, "Overlap below which an anchor is background, with max_iou.", most=1
    )
    crowd_iou: float = field(
        0.7, "Share inside a crowd above which an anchor is neutral.", most=1
    )

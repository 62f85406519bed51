"""Fields for training and evaluation, each defined once."""

import dataclasses

from yolact_jax.config.fields import Section, field

_SWITCH = ("auto", "yes", "no")
# Batches of one image make them eight times as many, which int32 counts.
_MOST_STEPS = 100_000_000


@dataclasses.dataclass(frozen=True)
class Optimizer(Section):
    """The optimizer, and its learning rate by step."""

    name: str = field(
        "sgd",
        "SGD with momentum, as published; or AdamW, whose beta1 is the momentum.",
        choices=("sgd", "adamw"),
    )
    schedule: str = field(
        "steps",
        "The rate after the warm-up: falls in steps, or as half a cosine to 0 at the "
        "end of the run, without decay_steps.",
        choices=("steps", "cosine"),
    )
    learning_rate: float = field(
        1e-3, "Rate after the warm-up, for batches of 8; see scale_with_batch.", above=0
    )
    warmup_rate: float = field(1e-4, "Rate of the first step.")
    warmup_steps: int = field(
        500,
        "Steps after which learning_rate is reached.",
        unit="steps",
        most=_MOST_STEPS,
    )
    decay_steps: tuple[int, ...] = field(
        (280_000, 600_000, 700_000, 750_000),
        "When the rate is multiplied by decay_factor.",
        unit="steps",
        most=_MOST_STEPS,
    )
    decay_fractions: tuple[float, ...] = field(
        (), "The same as fractions of the run, instead of decay_steps.", most=1
    )
    decay_factor: float = field(0.1, "What the rate is multiplied by.")
    momentum: float = field(0.9, "Share of the velocity kept at each step.", most=1)
    weight_decay: float = field(
        5e-4,
        "Multiple of each parameter that is added to its gradient; with adamw, that "
        "each kernel loses, times the rate.",
    )
    clip_norm: float = field(0.0, "Largest norm of the gradient; 0: no limit.")
    scale_with_batch: bool = field(
        True, "Scale the rate with the batch size, and all steps inversely."
    )


@dataclasses.dataclass(frozen=True)
class Train(Section):
    """The run."""

    batch_size: int = field(
        8,
        "Images per step over all devices; 0: as many as the memory holds, at most 64.",
        unit="images",
        most=1_000_000,
    )
    accumulate_steps: int = field(
        1,
        "Parts that a batch is computed in, one after the other, to need less memory; "
        "batch normalization sees one part at a time.",
        above=0,
        most=1_000_000,
    )
    ema_decay: float = field(
        0.0,
        "Moving average of all weights for evaluation and prediction, such as 0.999; "
        "0: none.",
        below=1,
    )
    num_steps: int = field(
        800_000,
        "Length of the run, for batches of 8; see scale_with_batch; 0: epochs.",
        unit="steps",
        most=_MOST_STEPS,
    )
    epochs: float = field(
        0.0,
        "Length of the run if num_steps is 0: how often each image is seen; 0: chosen "
        "from their number.",
        unit="epochs",
        most=1_000_000,
    )
    patience: int = field(
        0,
        "Evaluations in a row without a higher mask AP that end the run; 0: never.",
        unit="evaluations",
    )
    multi_scale: tuple[int, ...] = field(
        (),
        "Longer sides of the network input, of which each step draws one; shorter ones "
        "and anchors grow along; (): data.input_size. Each is a program of its own.",
        unit="pixels",
        least=32,
        most=8192,
    )
    freeze: tuple[str, ...] = field(
        (), 'Modules that do not learn, such as ("backbone", "fpn").'
    )
    seed: int = field(0, "Seed of initial weights, data order and augmentation.")
    init_weights: str = field(
        "",
        "What to start from, a file or published weights: an ImageNet backbone as in "
        'the original, such as resnet101_reducedfc, or a whole model; "": random.',
    )
    log_every_steps: int = field(10, "How often to log.", unit="steps", above=0)
    checkpoint_every_steps: int = field(
        10_000, "How often to save.", unit="steps", above=0
    )
    keep_checkpoints: int = field(
        3, "Newest checkpoints to keep; the best evaluated one stays too.", above=0
    )
    eval_every_steps: int = field(
        0, "How often to evaluate; 0: at the end only.", unit="steps"
    )
    max_bad_steps: int = field(
        10,
        "Updates in a row with a loss or gradient that is not finite, all skipped, "
        "that end the run.",
        unit="steps",
        above=0,
    )
    tensorboard: str = field(
        "auto",
        "Write event files for TensorBoard; auto: if tensorboardX is installed.",
        choices=_SWITCH,
    )
    profile_steps: int = field(
        0, "Steps after the start to trace; 0: none.", unit="steps"
    )


@dataclasses.dataclass(frozen=True)
class Eval(Section):
    """From predictions to detections, and their evaluation."""

    candidate_threshold: float = field(
        0.05, "Least score of an anchor's best class to enter NMS.", most=1
    )
    iou_threshold: float = field(
        0.5, "Overlap above which the lower score goes.", most=1
    )
    nms: str = field(
        "fast",
        "Fast NMS; exact greedy NMS (cluster, greedy_*), and that by DIoU "
        "(cluster_diou); Matrix NMS, Soft-NMS and cluster_penalty, which lower scores; "
        "the original's alternatives (cross_class, sequential).",
        choices=(
            "fast",
            "cluster",
            "cluster_diou",
            "cluster_penalty",
            "greedy_matrix",
            "greedy_loop",
            "matrix",
            "matrix_linear",
            "soft",
            "soft_linear",
            "cross_class",
            "sequential",
        ),
    )
    weighted_boxes: bool = field(
        False,
        "Average each box with those of lower scores that overlap it by more than 0.8; "
        "not in the original.",
    )
    class_agnostic: bool = field(
        False, "Whether boxes of different classes suppress each other."
    )
    top_k: int = field(200, "Boxes per class that enter NMS.", above=0, most=1_000_000)
    max_detections: int = field(
        100, "Detections kept per image.", above=0, most=1_000_000
    )
    batch_size: int = field(
        1,
        "Images at a time on each device.",
        unit="images",
        above=0,
        most=1_000_000,
    )
    max_images: int = field(0, "Images to evaluate; 0: all.", unit="images")
    sample_images: int = field(
        12, "Pictures in the grid samples.png; 0: no grid.", unit="images", most=10_000
    )
    evaluator: str = field(
        "pycocotools",
        "What measures AP; faster: the same numbers by faster-coco-eval, an extra.",
        choices=("pycocotools", "faster"),
    )
    report: bool = field(
        True, "Whether to write report/, a page with all numbers, at the end."
    )
    error_images: int = field(
        100,
        "Images on which the report measures what each step of YOLACT costs; 0: none.",
        unit="images",
    )

"""Fields for data and augmentation, each defined once."""

import dataclasses

from yolact_jax.config.fields import Section, field
from yolact_jax.config.frame import PADDING_RGB, InputFrame, sides_of


@dataclasses.dataclass(frozen=True)
class Data(Section):
    """Which pictures, and how the network gets them."""

    dataset: str = field(
        "coco",
        "A json file in COCO format with its images, in the four paths below (coco); "
        "an official dataset, from source_dir; or generated pictures (shapes).",
        choices=("coco", "coco2017", "coco2014", "sbd", "shapes"),
    )
    dir: str = field(
        "",
        "Folder of labeled pictures in any usual layout, which is recognized: COCO, "
        'Roboflow, YOLO, labelme or masks; "": the four paths below.',
    )
    validation_fraction: float = field(
        0.1,
        "Share of the images of dir to validate on, if it has no such part.",
        above=0,
        most=0.5,
    )
    split_seed: int = field(0, "Seed that chooses them.")
    source_dir: str = field(
        "", 'Where the archives of the dataset were unpacked; "": download them.'
    )
    records_dir: str = field(
        "data/records", "Folder of prepared records and downloads."
    )
    train_annotations: str = field(
        "data/coco/annotations/instances_train2017.json", "Json file to train on."
    )
    train_images: str = field("data/coco/train2017", "Folder of its images.")
    validation_annotations: str = field(
        "data/coco/annotations/instances_val2017.json", "Json file to evaluate on."
    )
    validation_images: str = field("data/coco/val2017", "Folder of its images.")
    skip_bad: bool = field(
        False, "Leave bad images and annotations out, instead of stopping at them."
    )
    allow_outside_paths: bool = field(
        False, "Let file names in the json lead out of the folder of images."
    )
    input_size: int | tuple[int, ...] = field(
        550,
        "Side of the network input, or its height and width.",
        unit="pixels",
        least=32,
        most=8192,
        length=2,
    )
    resize: str = field(
        "stretch",
        "How images become network input: stretched, as in the original; or with their "
        "aspect ratio and padding to the right or below.",
        choices=("stretch", "letterbox"),
    )
    channels: int = field(
        3,
        "Channels of the images and of the network input; 3 are RGB, others those of "
        "TIFF and PNG files.",
        above=0,
        most=64,
    )
    window_low: tuple[float, ...] = field(
        (),
        "Number in the files that becomes 0, for each channel; (): see "
        "window_percentiles.",
        most=65_535,
    )
    window_high: tuple[float, ...] = field(
        (), "Number that becomes 255, for each channel.", most=65_535
    )
    window_percentiles: tuple[float, ...] = field(
        (),
        "Measure both, as two percentiles of each channel of the train split; (): no "
        "window, but the upper 8 bits.",
        most=100,
    )
    channel_mean: tuple[float, ...] = field(
        (),
        "Mean of each channel after that, which becomes 0 in the network; (): that of "
        "the backbone for RGB, else it is measured.",
        unit="of 255",
        most=255,
    )
    channel_std: tuple[float, ...] = field(
        (), "Standard deviation of each channel, which becomes 1.", above=0, most=255
    )
    max_objects: int = field(
        100,
        "Ground-truth slots per image; the largest objects stay.",
        above=0,
        most=100_000,
    )
    negatives: str = field(
        "drop",
        "Images without objects: drop them, as the original; keep them all; or the "
        'largest share of the images trained on that they may be, such as "0.2".',
    )
    mask_target: str = field(
        "original",
        "What masks to learn say of a cell: whether it is inside, as the original "
        "resizes masks, twice, or by its center; or which share of it is inside.",
        choices=("original", "center", "coverage"),
    )
    cache: str = field(
        "no",
        "Keep decoded images of the train split, as long as there is room: in memory; "
        "or on the disk beside the records, for all processes and later runs.",
        choices=("no", "memory", "disk"),
    )
    num_workers: int = field(
        0, "Loader processes; 0 uses threads of this one.", most=1024
    )
    shapes_train_images: int = field(6000, "Generated images to train on.", above=0)
    shapes_validation_images: int = field(
        400, "Generated images to evaluate on.", above=0
    )
    shapes_image_size: int = field(
        128, "Side of the generated images.", unit="pixels", least=32, most=8192
    )
    shapes_seed: int = field(0, "Seed of the generated images.")

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width = sides_of(self.input_size)
        if height == width:
            object.__setattr__(self, "input_size", height)

    @property
    def frame(self) -> InputFrame:
        """The network input, and how images are put on it."""
        padding = tuple(round(value) for value in self.channel_mean) or PADDING_RGB
        if len(padding) != self.channels:  # Gray, before it is measured.
            padding = (round(sum(PADDING_RGB) / 3),) * self.channels
        letterbox = self.resize == "letterbox"
        return InputFrame(*sides_of(self.input_size), letterbox, padding)


@dataclasses.dataclass(frozen=True)
class Augment(Section):
    """Which random changes training images go through."""

    photometric: bool = field(True, "Change brightness, contrast, saturation and hue.")
    clip_colors: bool = field(
        True,
        "Clip changed colors to 0..255, so that images travel as bytes; the original "
        "does not, and needs 16 bits for each here.",
    )
    expand: bool = field(
        True, "Shrink the image onto a canvas of mean color, half of the time."
    )
    crop: bool = field(True, "Cut out a random part, five times out of six.")
    mirror: bool = field(True, "Mirror left and right, half of the time.")
    flip_vertical: bool = field(
        False,
        "Mirror top and bottom, half of the time, for images without an up and down.",
    )
    large_scale_jitter: bool = field(
        False,
        "Show the image at 0.1 to 2 times its size, instead of expand and crop; needs "
        "data.resize letterbox, and with small objects min_object_px; not in the "
        "original.",
    )
    copy_paste_probability: float = field(
        0.0,
        "How often objects of another image are pasted; not in the original.",
        most=1,
    )
    mosaic_probability: float = field(
        0.0,
        "How often four images share one sample; needs data.resize letterbox; not in "
        "the original.",
        most=1,
    )
    min_object_px: float = field(
        0.0,
        "Objects with a smaller box than this after augmentation are left out; not in "
        "the original.",
        unit="square pixels of the network input",
    )

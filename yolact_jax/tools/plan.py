"""What a training step needs, according to the compiler, before any data are read."""

import dataclasses
from pathlib import Path

import jax

from yolact_jax import build
from yolact_jax.config import Config, check_batch
from yolact_jax.data.sources import sbd_files, shapes
from yolact_jax.files import read_json
from yolact_jax.tools.flops import count_flops
from yolact_jax.training import memory, parts
from yolact_jax.training.multihost.mesh import make_layout
from yolact_jax.zoo.pretrained import abstract_variables

_COCO_CLASSES = 80


@dataclasses.dataclass(frozen=True)
class Plan:
    """Size and cost of training; memory is per device.

    Attributes:
      num_classes: foreground classes.
      batch_size: images per step over all devices.
      num_devices: devices that share the batch.
      num_parameters: trained and frozen.
      input_size: height and width of the network input, pixels.
      forward_flops: operations of the network for one image, at test time.
      step_flops: operations of a training step, per image.
      state_bytes: parameters, statistics, momentum and average.
      step_bytes: all memory of a step, including the state.
      image_bytes: memory of one more image on a device.
      device_bytes: memory of a device.
    """

    num_classes: int
    batch_size: int
    num_devices: int
    num_parameters: int
    input_size: tuple[int, int]
    forward_flops: float
    step_flops: float
    state_bytes: int
    step_bytes: int
    image_bytes: float
    device_bytes: int

    @property
    def largest_batch(self) -> int:
        """Estimated largest batch over all devices; 0 if not even one image fits.

        With batch normalization trained or frozen as in `batch_size`.
        """
        images = self.batch_size / self.num_devices
        fixed = self.step_bytes - images * self.image_bytes
        per_device = max(self.device_bytes - fixed, 0) // max(self.image_bytes, 1)
        return int(per_device) * self.num_devices


def make_plan(config: Config) -> Plan:
    """Compiles the training step of a config for the devices at hand.

    Compiles two batch sizes, since their difference is what an image needs.  With
    `config.train.multi_scale`, everything is for the largest input.

    Raises:
      ValueError: if the config cannot work, or JAX was started without the CPU.
    """
    check_batch(config.train, jax.device_count())
    config = memory.at_largest_size(config)
    layout, num_classes = make_layout(), count_classes(config)
    if not config.train.batch_size:
        found = memory.largest_batch(config, num_classes)
        config = config.replace({"train.batch_size": found})
    num_devices = jax.device_count()
    batch_size = config.train.batch_size
    other = _other_batch(batch_size, num_devices * config.train.accumulate_steps)
    variables = abstract_variables(config, num_classes)
    # Checks come before what takes minutes.
    forward_flops = _forward_flops(config, num_classes, variables)
    here, there = (
        memory.step_bytes(config, num_classes, size, layout)
        for size in (batch_size, other)
    )
    return Plan(
        num_classes=num_classes,
        batch_size=batch_size,
        num_devices=num_devices,
        num_parameters=sum(x.size for x in jax.tree.leaves(variables["params"])),
        input_size=config.data.frame.size,
        forward_flops=forward_flops,
        step_flops=_step_flops(config, num_classes) / batch_size,
        state_bytes=_num_bytes(
            parts.abstract_state(config, num_classes, layout.replicated)
        ),
        step_bytes=here,
        image_bytes=(there - here) / (other - batch_size) * num_devices,
        device_bytes=memory.device_bytes(),
    )


def _other_batch(batch_size: int, least: int) -> int:
    """Half the batch or, where that cannot be divided, twice as much.

    Not the least: XLA for GPUs fails to compile some steps of a single image.
    """
    return 2 * batch_size if batch_size % (2 * least) else batch_size // 2


def count_classes(config: Config) -> int:
    """Counts the classes of a config; 80, as in COCO, if its data are missing.

    Raises:
      ValueError: if the annotations are damaged or have no categories.
    """
    fixed = {"shapes": shapes.CLASS_NAMES, "sbd": sbd_files.CLASS_NAMES}
    if names := fixed.get(config.data.dataset):
        return len(names)
    if config.data.dir:
        return len(build.make_dataset(config).class_names)
    # That of the validation split, which is the smaller file.
    path = Path(config.data.validation_annotations)
    if not path.is_file():
        return _COCO_CLASSES
    categories = read_json(path).get("categories")
    if not isinstance(categories, list) or not categories:
        raise ValueError(
            f"{path} is damaged: its field categories must be a list of the classes."
        )
    return len(categories)


def format_plan(plan: Plan) -> str:
    """Formats a plan for the terminal."""
    kind = jax.devices()[0].device_kind
    rows = [
        ("devices", f"{plan.num_devices} x {kind}, {_size(plan.device_bytes)} each"),
        ("classes", f"{plan.num_classes}"),
        ("parameters", f"{plan.num_parameters:,}"),
        ("network input", "{} x {} pixels".format(*plan.input_size)),
        ("network, one image", f"{plan.forward_flops / 1e9:.1f} GFLOP"),
        ("training step, per image", f"{plan.step_flops / 1e9:.1f} GFLOP"),
        ("state, per device", _size(plan.state_bytes)),
        (f"step of {plan.batch_size} images, per device", _size(plan.step_bytes)),
        ("each further image on a device", _size(plan.image_bytes)),
        ("largest batch, estimated", f"{plan.largest_batch} images"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _step_flops(config: Config, num_classes: int) -> float:
    # The body of a loop over parts of the batch would count once.
    config = _plain(config).replace({"train.accumulate_steps": 1})
    step = parts.train_step_fn(config, num_classes)
    state = parts.abstract_state(config, num_classes, sharding=None)
    batch = memory.abstract_batch(config, config.train.batch_size, sharding=None)
    return count_flops(step, state, batch, jax.random.key(0))


def _forward_flops(config: Config, num_classes: int, variables) -> float:
    model = build.make_model(_plain(config), num_classes)
    shape = (1, *config.data.frame.size, config.data.channels)
    image = jax.ShapeDtypeStruct(shape, "float32")
    return count_flops(lambda v, x: model.apply(v, x, train=False), variables, image)


def _plain(config: Config) -> Config:
    """Winograd's algorithm needs fewer operations than the published counts."""
    return config.replace(
        {"model.freeze_bn": memory.freeze_bn_of(config), "model.winograd": "no"}
    )


def _num_bytes(tree) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _size(num_bytes: float) -> str:
    if num_bytes < 2**30:
        return f"{num_bytes / 2**20:.1f} MiB"
    return f"{num_bytes / 2**30:.2f} GiB"

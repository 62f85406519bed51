"""Times the YOLACT network in PyTorch, to set the times of ours beside.

    python benchmarks/pytorch_network.py --device=cpu --dtypes=float32

Needs PyTorch, which nothing else here does.  Weights and images are random.  Inference
is the network alone, as in the rows "network" of `inference.py`; training is forward,
backward and the update of SGD with momentum, with the mean of squares of the outputs
in place of the losses, so that it does less than a step of `train_step.py`.

Float32 may use TF32 on a GPU, and cuDNN chooses its fastest algorithms.  Which format
of memory is the faster depends on the processor: `--formats` times both.  In bfloat16
inference has its weights in that type; training is under autocast and keeps them in
float32, as ours does.
"""

import sys
from pathlib import Path

from absl import app, flags

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

try:
    import torch
except ImportError:
    sys.exit("pytorch_network.py needs PyTorch: pip install torch.")

from benchmarks import measurement
from benchmarks.pytorch_yolact import BACKBONES, Yolact

_DEVICE = flags.DEFINE_enum("device", "cpu", ("cpu", "cuda"), "Where to run.")
_CONFIGS = flags.DEFINE_list("configs", list(BACKBONES), "Models.")
_MODES = flags.DEFINE_list("modes", "inference,training", "inference, training.")
_DTYPES = flags.DEFINE_list("dtypes", "float32,bfloat16", "Types of convolutions.")
_BATCHES = flags.DEFINE_list("batch_sizes", "1,2,8", "Images per call or step.")
_COMPILE = flags.DEFINE_list(
    "compile", "no", "no, or a mode of torch.compile, such as default, max-autotune."
)
_FORMATS = flags.DEFINE_list(
    "formats", "channels_last", "channels_last, contiguous_format."
)
_FREEZE_BN = flags.DEFINE_bool("freeze_bn", True, "Frozen statistics in training.")
_INPUT_SIZE = flags.DEFINE_integer("input_size", 550, "Side of the images, pixels.")
_REPEATS = flags.DEFINE_integer("repeats", 9, "Timed calls.")
_RESULTS = flags.DEFINE_string("results", "benchmarks/results", "Folder of results.")


def make_network(config: str, training: bool, memory_format) -> Yolact:
    """Builds a network with random weights on the device."""
    torch.manual_seed(0)
    network = Yolact(config).train(training)
    if training and _FREEZE_BN.value:
        network.freeze_norms()
    return network.to(_DEVICE.value, memory_format=memory_format)


def make_images(batch_size: int, memory_format) -> torch.Tensor:
    """Draws normalized images [B, 3, H, W] float32."""
    side = _INPUT_SIZE.value
    images = torch.randn(batch_size, 3, side, side, device=_DEVICE.value)
    return images.to(memory_format=memory_format)


def inference_call(network, forward, dtype: torch.dtype, images: torch.Tensor):
    """Returns a function of no arguments that runs the network."""
    network.to(dtype)
    images = images.to(dtype)

    @torch.no_grad()
    def call():
        forward(images)
        _synchronize()

    return call


def training_call(network, forward, dtype: torch.dtype, images: torch.Tensor):
    """Returns a function of no arguments that makes one step."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3, momentum=0.9, weight_decay=5e-4)
    half = dtype != torch.float32

    def call():
        with torch.autocast(_DEVICE.value, dtype, enabled=half):
            outputs = forward(images)
        loss = sum(output.float().square().mean() for output in outputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        _synchronize()

    return call


def _synchronize() -> None:
    if _DEVICE.value == "cuda":
        torch.cuda.synchronize()


def measure(
    config: str, mode: str, dtype: str, batch_size: int, compiled: str, layout: str
) -> dict:
    """Builds a network and times its calls; returns a row."""
    memory_format = getattr(torch, layout)
    network = make_network(config, mode == "training", memory_format)
    parameters = sum(weight.numel() for weight in network.parameters())
    forward = network
    if compiled != "no":
        torch.compiler.reset()
        forward = torch.compile(network, mode=compiled)
    make_call = training_call if mode == "training" else inference_call
    images = make_images(batch_size, memory_format)
    call = make_call(network, forward, getattr(torch, dtype), images)
    if _DEVICE.value == "cuda":
        torch.cuda.reset_peak_memory_stats()
    first_ms = measurement.milliseconds(call)
    median, p90 = measurement.time_calls(call, _REPEATS.value)
    return measurement.print_row(
        {
            "config": config,
            "parameters": parameters,
            "mode": mode,
            "dtype": dtype,
            "batch_size": batch_size,
            "freeze_bn": "yes" if mode == "inference" or _FREEZE_BN.value else "no",
            "compile": compiled,
            "format": layout,
            "first_call_s": round(first_ms / 1e3, 1),
            "median_ms": round(median, 2),
            "p90_ms": round(p90, 2),
            "images_per_s": round(1e3 * batch_size / median, 2),
            "peak_mib": peak_mib(),
        }
    )


def peak_mib() -> float | None:
    """Most memory that tensors took on a GPU, in MiB; None on a CPU."""
    if _DEVICE.value == "cpu":
        return None
    return round(torch.cuda.max_memory_allocated() / 2**20, 1)


def device_name() -> str:
    """The device in words fit for a file name, the same as `timing.device_name`."""
    on_cpu = _DEVICE.value == "cpu"
    return measurement.as_file_name("cpu" if on_cpu else torch.cuda.get_device_name())


def main(_) -> None:
    """Runs all cases and writes the rows."""
    if _DEVICE.value == "cuda" and not torch.cuda.is_available():
        sys.exit("pytorch_network.py: --device cuda: PyTorch sees no GPU; use cpu.")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = True
    rows = [
        measure(config, mode, dtype, int(batch_size), compiled, layout)
        for config in _CONFIGS.value
        for mode in _MODES.value
        for dtype in _DTYPES.value
        for batch_size in _BATCHES.value
        for compiled in _COMPILE.value
        for layout in _FORMATS.value
    ]
    version = torch.__version__.partition("+")[0]
    name = f"pytorch_network-{device_name()}-torch{version}.csv"
    measurement.write_csv(Path(_RESULTS.value) / name, rows)


if __name__ == "__main__":
    app.run(main)

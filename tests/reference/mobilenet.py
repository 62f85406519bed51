"""MobileNetV4 from the keys of its published file, in float64, nothing folded."""

import numpy as np

EPSILON = 1e-5


def convolve(x, weight, stride):
    """[c, h, w] by [out, c or 1, k, k]; with one input channel each, depthwise."""
    size = weight.shape[-1]
    x = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
    steps = [(side - size) // stride + 1 for side in x.shape[1:]]
    result = np.zeros((len(weight), *steps))
    for i, j in np.ndindex(size, size):
        high, wide = (stride * (count - 1) + 1 for count in steps)
        part = x[:, i : i + high : stride, j : j + wide : stride]
        if weight.shape[1] == 1:
            result += weight[:, 0, i, j, None, None] * part
        else:
            result += np.tensordot(weight[:, :, i, j], part, 1)
    return result


def normalize(x, tensors, key):
    names = ("weight", "bias", "running_mean", "running_var")
    scale, bias, mean, var = (
        tensors[f"{key}.{name}"].astype(float)[:, None, None] for name in names
    )
    return (x - mean) / np.sqrt(var + EPSILON) * scale + bias


def unit(x, tensors, key, stride=1, norm="bn"):
    x = convolve(x, tensors[f"{key}.conv.weight"].astype(float), stride)
    return normalize(x, tensors, f"{key}.{norm}")


def relu(x):
    return np.maximum(x, 0)


def block(x, tensors, key, stride):
    def has(part):
        return f"{key}.{part}.conv.weight" in tensors

    if f"{key}.conv.weight" in tensors:
        return relu(unit(x, tensors, key, stride, norm="bn1"))
    y = x
    if has("dw_start"):
        y = unit(y, tensors, f"{key}.dw_start", 1 if has("dw_mid") else stride)
    y = relu(unit(y, tensors, f"{key}.pw_exp"))
    if has("dw_mid"):
        y = relu(unit(y, tensors, f"{key}.dw_mid", stride))
    y = unit(y, tensors, f"{key}.pw_proj")
    return x + y if stride == 1 and len(x) == len(y) else y


def maps(image, tensors):
    """Results of the five stages for [3, h, w]."""
    x = convolve(image.astype(float), tensors["conv_stem.weight"].astype(float), 2)
    x = relu(normalize(x, tensors, "bn1"))
    found = []
    for stage in range(5):
        names = {
            key.split(".")[2] for key in tensors if key.startswith(f"blocks.{stage}.")
        }
        for index in range(len(names)):
            stride = 2 if index == 0 and stage < 4 else 1
            x = block(x, tensors, f"blocks.{stage}.{index}", stride)
        found.append(x)
    return found

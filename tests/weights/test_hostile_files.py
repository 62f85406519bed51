"""Weight files that claim more than they have end in one sentence and little memory."""

import json
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest

from yolact_jax.weights.files import read_weights

_ROOT = pathlib.Path(__file__).parents[2]
_LIMITED = """
import pathlib, sys
from tests.fuzz.harness import limit_memory
from yolact_jax.weights.files import read_weights
limit_memory(100)
try:
    print(sorted(read_weights(pathlib.Path(sys.argv[1]))))
except ValueError as error:
    print("refused:", error)
"""


def run_limited(*arguments):
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert not result.stderr, result.stderr
    return result


def read_limited(path):
    return run_limited("-c", _LIMITED, path).stdout


def tensor_pickle(size, shape, strides, offset=0, key=b"0"):
    """Spells the pickle of {"a": tensor} in opcodes."""

    def integer(value):
        return b"L" + str(value).encode() + b"L\n"

    def integers(values):
        return b"(" + b"".join(map(integer, values)) + b"t"

    storage = b"(" + b"X\x07\x00\x00\x00storage" + b"ctorch\nFloatStorage\n"
    storage += b"X\x01\x00\x00\x00" + key + b"X\x03\x00\x00\x00cpu" + integer(size)
    storage += b"tQ"
    arguments = b"(" + storage + integer(offset) + integers(shape) + integers(strides)
    arguments += b"\x89ccollections\nOrderedDict\n)Rt"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"
    return b"\x80\x02}X\x01\x00\x00\x00a" + tensor + b"s."


def write_zip(path, content, numbers, order=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x/data.pkl", content)
        if order is not None:
            archive.writestr("x/byteorder", order)
        archive.writestr("x/data/0", numbers)
    return path


def write_legacy(path, content, numbers, system):
    with open(path, "wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, system):
            pickle.dump(part, file, protocol=2)
        file.write(content)
        pickle.dump(["0"], file, protocol=2)
        file.write(struct.pack("<q", len(numbers) // 4) + numbers)
    return path


NUMBERS = np.arange(6, dtype="<f4")
PLAIN = tensor_pickle(6, (2, 3), (3, 1))


@pytest.mark.parametrize("order", [None, "little", "big"])
def test_both_byte_orders_are_read(tmp_path, order):
    data = NUMBERS.astype(">f4") if order == "big" else NUMBERS
    path = write_zip(tmp_path / "x.pth", PLAIN, data.tobytes(), order)
    array = read_weights(path)["a"]
    np.testing.assert_array_equal(array, NUMBERS.reshape(2, 3))


def test_legacy_files_are_read(tmp_path):
    little = {"little_endian": True}
    path = write_legacy(tmp_path / "x.pth", PLAIN, NUMBERS.tobytes(), little)
    np.testing.assert_array_equal(read_weights(path)["a"], NUMBERS.reshape(2, 3))
    write_legacy(path, PLAIN, NUMBERS.tobytes(), {"little_endian": False})
    with pytest.raises(ValueError, match="big-endian"):
        read_weights(path)


@pytest.mark.parametrize("order", ["middle", "", "BIG", "\n" * 9])
def test_other_byte_orders_are_refused(tmp_path, order):
    path = write_zip(tmp_path / "x.pth", PLAIN, NUMBERS.tobytes(), order)
    with pytest.raises(ValueError, match=r"x\.pth has the byteorder .* little or big"):
        read_weights(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("shape", "strides"),
    [((30_000, 30_000), (0, 0)), ((900_000_000,), (0,)), ((6, 10**9), (1, 0))],
)
def test_strides_of_zero_make_no_memory(tmp_path, legacy, shape, strides):
    content, path = tensor_pickle(6, shape, strides), tmp_path / "x.pth"
    if legacy:
        write_legacy(path, content, NUMBERS.tobytes(), {"little_endian": True})
    else:
        write_zip(path, content, NUMBERS.tobytes())
    assert path.stat().st_size < 1000
    assert f"a claims {np.prod(shape)} numbers, and its" in read_limited(path)


@pytest.mark.parametrize("size", [10**9, 10**12, 2**62, -1])
@pytest.mark.parametrize("legacy", [False, True])
def test_storages_are_as_large_as_their_bytes(tmp_path, size, legacy):
    content, path = tensor_pickle(size, (2,), (1,)), tmp_path / "x.pth"
    if legacy:
        write_legacy(path, content, NUMBERS.tobytes(), {"little_endian": True})
        raw = path.read_bytes()
        claim = struct.pack("<q", 6)
        assert raw.count(claim) == 1
        path.write_bytes(raw.replace(claim, struct.pack("<q", size)))
    else:
        write_zip(path, content, NUMBERS.tobytes())
    assert "is cut off: " in read_limited(path)


def test_zip_bombs_are_not_unpacked(tmp_path):
    zeros = bytes(200 * 2**20)
    content = tensor_pickle(len(zeros) // 4, (len(zeros) // 4,), (1,))
    path = write_zip(tmp_path / "x.pth", content, zeros, None, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**18
    assert "bytes that claims to hold 2097" in read_limited(path)


def test_memories_of_a_pickle_make_no_memory(tmp_path):
    content = b"\x80\x02}r\xff\xff\xff\x7f."
    path = write_zip(tmp_path / "x.pth", content, b"")
    assert "its pickle remembers object 2147483647" in read_limited(path)


def write_raw_safetensors(path, header, data=b"", length=None):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", length or len(text)) + text + data)
    return path


@pytest.mark.parametrize(
    ("shape", "end", "length"),
    [
        ([10**9], 4 * 10**9, None),
        ([2**40, 2**40], 24, None),
        ([6], 24, 2**40),
        ([6], 24, 90_000_000),
        ([7], 24, None),
        ([-1], 24, None),
    ],
)
def test_safetensors_headers_are_compared_with_the_file(tmp_path, shape, end, length):
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}
    path = tmp_path / "x.safetensors"
    write_raw_safetensors(path, {"a": entry}, NUMBERS.tobytes(), length)
    assert "x.safetensors is damaged" in read_limited(path)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("BF16", ml_dtypes.bfloat16),
        ("F8_E4M3", ml_dtypes.float8_e4m3fn),
        ("F8_E5M2", ml_dtypes.float8_e5m2),
        ("F16", np.float16),
        ("F32", np.float32),
        ("F64", np.float64),
    ],
)
def test_short_floats_are_read_exactly(tmp_path, kind, dtype):
    values = np.array([0.5, -1.75, 2.0**-6, 0.0, 448.0, -3.0])
    data = values.astype(dtype)
    entry = {"dtype": kind, "shape": [2, 3], "data_offsets": [0, data.nbytes]}
    path = tmp_path / "x.safetensors"
    write_raw_safetensors(path, {"a": entry}, data.tobytes())
    array = read_weights(path)["a"]
    assert array.dtype.kind == "f"
    assert array.shape == (2, 3)
    np.testing.assert_array_equal(array.ravel(), data.astype(np.float64))


def test_every_bfloat16_is_widened_to_its_own_bits(tmp_path):
    bits = np.arange(2**16, dtype="<u2")
    entry = {"dtype": "BF16", "shape": [2**16], "data_offsets": [0, 2**17]}
    path = tmp_path / "x.safetensors"
    write_raw_safetensors(path, {"a": entry}, bits.tobytes())
    expected = bits.astype(np.uint32) << 16
    is_number = (bits & 0x7F80) != 0x7F80
    found = read_weights(path)["a"].view(np.uint32)
    np.testing.assert_array_equal(found[is_number], expected[is_number])


@pytest.mark.parametrize("kind", ["C64", "U64", "F8_E8M0"])
def test_other_numbers_are_refused_by_name(tmp_path, kind):
    size = {"C64": 8, "U64": 8}.get(kind, 1)
    entry = {"dtype": kind, "shape": [1], "data_offsets": [0, size]}
    path = tmp_path / "x.safetensors"
    write_raw_safetensors(path, {"a": entry}, bytes(size))
    with pytest.raises(ValueError, match=rf"'a' has numbers of the kind {kind}"):
        read_weights(path)


@pytest.mark.parametrize(
    "name", ["ctorch\nComplexFloatStorage\n.", "ctorch._utils\n_rebuild_tensor_v3\n."]
)
def test_other_numbers_of_pytorch_are_refused_by_name(tmp_path, name):
    path = write_zip(tmp_path / "x.pth", b"\x80\x02" + name.encode(), b"")
    words = name.split("\n")[1]
    with pytest.raises(ValueError, match=rf"another kind \({words}\)"):
        read_weights(path)

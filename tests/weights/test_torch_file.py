"""Reading .pth files: what PyTorch wrote comes out, everything else is refused.

The files in tests/golden were written by PyTorch 2.13, in its old and its new format.
"""

import collections
import os
import pathlib
import pickle
import struct
import zipfile

import numpy as np
import pytest

from yolact_jax.weights.torch_file import read_torch_file

_GOLDEN = pathlib.Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("kind", ["legacy", "zip"])
def test_reads_what_pytorch_wrote(kind):
    tensors = read_torch_file(_GOLDEN / f"torch_{kind}.pth")
    with np.load(_GOLDEN / "torch_expected.npz") as expected:
        assert set(tensors) == set(expected)
        for key, array in tensors.items():
            assert array.shape == expected[key].shape
            np.testing.assert_array_equal(array.astype(np.float32), expected[key])
    assert tensors["bn.num_batches_tracked"].dtype == np.int64
    assert tensors["half"].dtype == np.float16


@pytest.mark.parametrize("kind", ["legacy", "zip"])
def test_agrees_with_pytorch_itself(kind, tmp_path):
    torch = pytest.importorskip("torch")
    expected = {"a.weight": torch.randn(3, 4), "a.count": torch.tensor(7)}
    path = tmp_path / "x.pth"
    torch.save(expected, path, _use_new_zipfile_serialization=kind == "zip")
    for key, array in read_torch_file(path).items():
        np.testing.assert_array_equal(array, expected[key].numpy())


@pytest.mark.parametrize("kind", ["legacy", "zip"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_refuses_truncated_files(kind, share, tmp_path):
    whole = (_GOLDEN / f"torch_{kind}.pth").read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"cut\.pth .*(damaged|cut off|not a PyTorch)"):
        read_torch_file(path)


class Malicious:
    """Pickles as a call, which an ordinary unpickler would make."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write_legacy(path, content):
    with open(path, "wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(part, file, protocol=2)
        pickle.dump(content, file, protocol=2)
        pickle.dump([], file, protocol=2)


def write_zip(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(content, protocol=2))


def write_bare(path, content):
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [write_legacy, write_zip, write_bare])
@pytest.mark.parametrize(
    ("function", "argument", "named"),
    [
        (os.system, "touch {}", "system"),
        (eval, "open('{}', 'w')", "eval"),
        (pathlib.Path, "{}", "Path"),
    ],
)
def test_refuses_pickles_that_import_something(
    write, function, argument, named, tmp_path
):
    witness = tmp_path / "witness"
    path = tmp_path / "evil.pth"
    write(path, {"a": Malicious(function, argument.format(witness))})
    with pytest.raises(ValueError, match=rf"evil\.pth wants to import .*{named}"):
        read_torch_file(path)
    assert not witness.exists()


@pytest.mark.parametrize(
    "content",
    [{}, [1, 2], {"a": 1}, {"a": {"b": 2}}, collections.OrderedDict(), "text"],
)
@pytest.mark.parametrize("write", [write_legacy, write_zip])
def test_refuses_what_is_not_a_state_dict(write, content, tmp_path):
    path = tmp_path / "x.pth"
    write(path, content)
    with pytest.raises(ValueError, match="no plain dict of tensors"):
        read_torch_file(path)


def test_refuses_other_files(tmp_path):
    path = tmp_path / "x.pth"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1234\n")
    with pytest.raises(ValueError, match="not a PyTorch file"):
        read_torch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(ValueError, match="not one of PyTorch"):
        read_torch_file(path)


def test_refuses_tensors_that_reach_outside_their_storage(tmp_path):
    whole = (_GOLDEN / "torch_legacy.pth").read_bytes()
    # The storage of "param" has two numbers; claim that it has one.
    end = struct.pack("<q", 2)
    assert end in whole
    path = tmp_path / "x.pth"
    path.write_bytes(whole.replace(end, struct.pack("<q", 1)))
    with pytest.raises(ValueError, match="instead of"):
        read_torch_file(path)


def test_an_unreadable_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        read_torch_file(tmp_path / "missing.pth")

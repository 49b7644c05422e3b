from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from volseg.errors import InputError
from volseg.training.cache import load_array, save_array


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int64])
def test_arrays_come_back_mapped_and_read_only(tmp_path: Path, dtype: type) -> None:
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    save_array(array[:, ::-1], tmp_path / "case.image.npy")
    found = load_array(tmp_path / "case.image.npy")
    assert found.dtype == dtype
    assert np.array_equal(found, array[:, ::-1])
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0, 0] = 1
    assert [path.name for path in tmp_path.iterdir()] == ["case.image.npy"]


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((30, 40)))
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, np.zeros(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", npy()[:-100], npy()[:40], b"not an array", npz(), pickle.dumps({"a": 1})],
    ids=["empty", "truncated", "half a header", "text", "archive", "pickle"],
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "case.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"case\.npy: is not a readable array .*; delete the folder's cache"):
        load_array(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file descriptors to set")
def test_more_arrays_can_be_mapped_than_files_be_open(tmp_path: Path) -> None:
    save_array(np.arange(1000, dtype=np.int32), tmp_path / "case.npy")
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from volseg.training.cache import load_array\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "arrays = [load_array(Path(sys.argv[1])) for _ in range(1200)]\n"
        "print(sum(int(array.sum()) for array in arrays))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "case.npy")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == 1200 * 499_500


def test_arrays_in_column_order_come_back(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(24).reshape(2, 3, 4))
    save_array(array, tmp_path / "case.npy")
    assert np.array_equal(load_array(tmp_path / "case.npy"), array)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.npy: is not a readable array .*No such file"):
        load_array(tmp_path / "none.npy")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    with (tmp_path / "case.npy").open("wb") as stream:
        np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="is not a readable array"):
        load_array(tmp_path / "case.npy")
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        save_array(np.array([{"a": 1}], dtype=object), tmp_path / "other.npy")
    assert not (tmp_path / "other.npy").exists()

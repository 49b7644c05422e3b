"""NRRD with several volumes, in every layout that its header allows."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  (its documentation's name)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

import volseg
from volseg.cli import app
from volseg.errors import AmbiguousError, InputError
from volseg.io import read_all, read_channels, read_grid, read_labels
from volseg.io.scans import count_volumes

SHAPE = (5, 4, 3)
LPS = np.array([[2, 0, 0.5, 1], [0, 1.5, 0, -2], [0, 0, 3, 5], [0, 0, 0, 1.0]])
TO_RAS = np.diag([-1, -1, 1, 1.0])
EVERY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def volumes(count: int) -> NDArray[np.int16]:
    """Numbers that tell every voxel of every volume apart."""
    return np.arange(np.prod(SHAPE) * count, dtype=np.int16).reshape((*SHAPE, count), order="F")


def write_nrrd(path: Path, array: NDArray[Any], place: int, **said: Any) -> Path:
    """Write volumes (I, J, K, N), with the list of volumes as axis `place` of the file and more lines of a header."""
    stored = np.moveaxis(array, 3, place)
    matrix = TO_RAS @ LPS if said.get("space", "").startswith(("r", "R")) else LPS
    own = said.get("direction", "none")
    vectors = ["(" + ",".join(map(str, column)) + ")" for column in matrix[:3, :3].T.tolist()]
    origin = ",".join(map(str, matrix[:3, 3]))
    if said.get("with_time"):
        vectors, origin = [f"{vector[:-1]},0)" for vector in vectors], f"{origin},0"
    vectors.insert(place, own)
    kinds = ["domain"] * 3
    kinds.insert(place, said.get("kind", "list"))
    fields = {
        "type": "short",
        "dimension": 4,
        "space": said.get("space", "left-posterior-superior"),
        "sizes": " ".join(map(str, stored.shape)),
        "space directions": " ".join(vectors),
        "kinds": " ".join(kinds),
        "endian": "little",
        "encoding": said.get("encoding", "raw"),
        "space origin": f"({origin})",
    }
    content = stored.tobytes(order="F")
    match said.get("encoding"):
        case "gzip":
            content = gzip.compress(content)
        case "txt":
            content = " ".join(map(str, stored.ravel(order="F"))).encode()
        case "hex":
            content = content.hex().encode()
    text = "NRRD0005\n# by hand\n" + "".join(f"{key}: {value}\n" for key, value in fields.items() if value != "")
    if said.get("detached"):
        (path.parent / "voxels").mkdir(exist_ok=True)
        (path.parent / "voxels" / "a.bin").write_bytes(content)
        text, content = f"{text}data file: voxels/a.bin\n", b""
    path.write_bytes(text.encode() + b"\n" + content)
    return path


def assert_read(path: Path, array: NDArray[Any]) -> None:
    found = read_all(path)
    count = array.shape[3]
    stem = path.name.partition(".")[0]
    assert list(found) == ([stem] if count == 1 else [f"{stem}_{n}" for n in range(count)])
    assert count_volumes(path) == count
    for n, (name, volume) in enumerate(found.items()):
        np.testing.assert_array_equal(volume.array, array[..., n])
        np.testing.assert_allclose(volume.grid.affine, TO_RAS @ LPS, atol=1e-9)
        np.testing.assert_array_equal(volseg.read(path, series=name).array, array[..., n])
    np.testing.assert_allclose(read_grid(path).affine, TO_RAS @ LPS, atol=1e-9)


@EVERY
@given(
    place=st.integers(0, 3),
    count=st.integers(1, 3),
    kind=st.sampled_from(["list", "time", "vector", "???", "none", "domain", "space"]),
    encoding=st.sampled_from(["raw", "gzip", "txt", "hex"]),
    detached=st.booleans(),
    space=st.sampled_from(["left-posterior-superior", "LPS", "right-anterior-superior"]),
)
def test_volumes_in_every_layout(tmp_path: Path, place: int, count: int, kind: str, **said: Any) -> None:
    array = volumes(count)
    assert_read(write_nrrd(tmp_path / "a.nrrd", array, place, kind=kind, **said), array)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize(
    "said",
    [
        # The axis has a direction of zeros or NaN; no kinds; time as a fourth axis of space, with or without its kind.
        {"kind": "list", "direction": "(0,0,0)"},
        {"kind": "vector", "direction": "(nan,nan,nan)"},
        {"kind": "time", "direction": "(0,0,0)"},
        {"space": "left-posterior-superior-time", "with_time": True, "direction": "(0,0,0,1.5)", "kind": "time"},
        {"space": "LPST", "with_time": True, "direction": "(0,0,0,1.5)", "kind": "domain"},
        {"space": "rast", "with_time": True, "direction": "(0,0,0,2)", "kind": "???"},
    ],
)
def test_other_ways_to_say_which_axis(tmp_path: Path, place: int, said: dict[str, Any]) -> None:
    assert_read(write_nrrd(tmp_path / "a.nrrd", volumes(2), place, **said), volumes(2))


def edit(path: Path, *replaced: tuple[str, str]) -> None:
    content = path.read_bytes()
    for old, new in replaced:
        assert old.encode() in content
        content = content.replace(old.encode(), new.encode(), 1)
    path.write_bytes(content)


def test_without_kinds_directions_say_it(tmp_path: Path) -> None:
    path = write_nrrd(tmp_path / "a.nrrd", volumes(2), 1)
    edit(path, ("kinds: domain list domain domain\n", ""))
    assert_read(path, volumes(2))


@pytest.mark.parametrize("kind", ["list", "time"])
def test_without_directions_kinds_say_it(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    path = write_nrrd(tmp_path / "a.nrrd", volumes(2), 0, kind=kind)
    directions = "space directions: none (2.0,0.0,0.0) (0.0,1.5,0.0) (0.5,0.0,3.0)\n"
    edit(path, (directions, "spacings: nan 2 1.5 3\n"), ("space origin: (1.0,-2.0,5.0)\n", ""))
    edit(path, ("space: left-posterior-superior\n", 'units: "s" "cm" "cm" "cm"\n'))
    with caplog.at_level(logging.WARNING):
        found = read_all(path)
    assert "does not say how its axes lie in the patient" in caplog.text
    for n, volume in enumerate(found.values()):
        np.testing.assert_array_equal(volume.array, volumes(2)[..., n])
        np.testing.assert_allclose(volume.grid.spacing, (20, 15, 30))


def test_units_and_files_of_a_list(tmp_path: Path) -> None:
    """A file for each volume; the unit is that of the axes of space."""
    path = write_nrrd(tmp_path / "a.nhdr", volumes(2), 3, kind="time", detached=True)
    for n in range(2):
        (tmp_path / f"{n}.raw").write_bytes(volumes(2)[..., n].tobytes(order="F"))
    edit(path, ("data file: voxels/a.bin\n", 'space units: "mm" "mm" "mm"\ndata file: LIST\n0.raw\n1.raw'))
    assert_read(path, volumes(2))


def test_skipped_lines_and_bytes(tmp_path: Path) -> None:
    path = write_nrrd(tmp_path / "a.nhdr", volumes(2), 3, kind="time", detached=True)
    data = tmp_path / "voxels" / "a.bin"
    data.write_bytes(b"one\ntwo\nxyz" + data.read_bytes())
    edit(path, ("encoding: raw\n", "encoding: raw\nline skip: 2\nbyte skip: 3\n"))
    assert_read(path, volumes(2))
    path = write_nrrd(tmp_path / "b.nrrd", volumes(2), 3, kind="time")
    edit(path, ("encoding: raw\n", "encoding: raw\nbyte skip: -1\n"))
    assert_read(path, volumes(2))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kinds: domain domain domain time", "kinds: domain domain domain RGB-color"),
        ("kinds: domain domain domain time", "kinds: domain domain domain 2-vector"),
        ("kinds: domain domain domain time", "kinds: domain domain list time"),
        ("(0.5,0.0,3.0) none", "(0.5,0.0,3.0) (0,0,1)"),
        ("(2.0,0.0,0.0)", "none"),
        ("encoding: raw", "encoding: raw\nline skip: -1"),
        ("encoding: raw", "encoding: raw\nline skip: x"),
    ],
)
def test_what_is_no_list_of_volumes_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = write_nrrd(tmp_path / "a.nrrd", volumes(2), 3, kind="time")
    edit(path, (old, new))
    if new.endswith("(0,0,1)"):
        edit(path, ("domain time", "domain domain"))
    with pytest.raises(InputError, match=r"a\.nrrd: "):
        read_all(path)


def test_one_of_several_volumes_is_chosen_by_name(tmp_path: Path) -> None:
    path = write_nrrd(tmp_path / "a.nrrd", volumes(2), 3, kind="time")
    with pytest.raises(AmbiguousError, match=r"holds 2 volumes \(a_0, a_1\); choose one of them by its name"):
        volseg.read(path)
    with pytest.raises(InputError, match="has no volume 'a_2'; expected one of a_0, a_1"):
        volseg.read(path, series="a_2")
    with pytest.raises(AmbiguousError, match=r"holds 2 volumes \(a_0, a_1\), and not all are masks"):
        read_labels(path)
    assert [channel.name for channel in read_channels([path])] == ["a_0", "a_1"]
    assert not list(tmp_path.glob("*.nhdr"))


@pytest.mark.parametrize("headers", [False, True])
def test_inspect_and_convert_all(tmp_path: Path, headers: bool) -> None:
    path = write_nrrd(tmp_path / "a.nrrd", volumes(2), 0, kind="time")
    entries = volseg.inspect(path, headers=headers).entries
    assert [(entry.volume, entry.series, entry.shape) for entry in entries] == [
        ("a_0", "a_0", SHAPE),
        ("a_1", "a_1", SHAPE),
    ]
    result = CliRunner().invoke(app, ["convert", str(path), str(tmp_path / "out"), "--all"])
    assert result.exit_code == 0, result.output
    for n in range(2):
        np.testing.assert_array_equal(volseg.read(tmp_path / "out" / f"a_{n}.nii.gz").array, volumes(2)[..., n])


@pytest.mark.parametrize("make", [sitk.JoinSeries, sitk.Compose])
def test_volumes_that_simpleitk_wrote(tmp_path: Path, make: Any) -> None:
    images = [sitk.GetImageFromArray(volumes(2)[..., n].T) for n in range(2)]
    for image in images:
        image.SetSpacing((2, 1.5, 3))
        image.SetOrigin((1, -2, 5))
    sitk.WriteImage(make(*images), str(tmp_path / "a.nrrd"))
    for n, volume in enumerate(read_all(tmp_path / "a.nrrd").values()):
        np.testing.assert_array_equal(volume.array, volumes(2)[..., n])
        np.testing.assert_allclose(volume.grid.to_world([1, 1, 1]), (-3, 0.5, 8))


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    path = write_nrrd(tmp_path / "a.nrrd", volumes(2), 3, kind="time", encoding="gzip")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"a\.nrrd: is not a NRRD or MetaImage file, damaged or cut off"):
        read_all(path)


def test_the_given_file(shared_data: Path) -> None:
    path = shared_data / "found" / "nrrd-time-axis" / "r05-time-axis.nrrd"
    if not path.is_file():
        pytest.skip("the files that others found are not here")
    first, second = read_all(path).values()
    np.testing.assert_array_equal(second.array, first.array + 9000)
    np.testing.assert_allclose(first.grid.affine, [[-2, 0, 0, -1], [0, -2, 0, -2], [0, 0, 3, 5], [0, 0, 0, 1]])

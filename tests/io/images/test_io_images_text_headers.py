"""Headers of NRRD and MetaImage that native code must not be given."""

from __future__ import annotations

import gc
import gzip
import re
import subprocess
import sys
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from volseg.errors import InputError, VolsegError
from volseg.io import read, read_all
from volseg.io.images.meta_header import check_meta
from volseg.io.images.nrrd_header import check_nrrd

VALUES = np.arange(24, dtype="<i2").reshape(4, 3, 2)
NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 3 2",
    "space directions": "(1,0,0) (0,1,0) (0,0,1)",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(0,0,0)",
}
META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "0 0 0",
    "ElementSpacing": "1 1 1",
    "DimSize": "4 3 2",
    "ElementType": "MET_SHORT",
}


def nrrd(change: dict[str, str] | None = None, *, more: str = "", data: bytes = VALUES.tobytes("F")) -> bytes:
    lines = [f"{name}: {value}" for name, value in {**NRRD, **(change or {})}.items()]
    return ("\n".join(["NRRD0004", *lines]) + f"\n{more}\n").encode() + data


def meta(
    change: dict[str, str] | None = None, *, more: str = "", file: str = "LOCAL", data: bytes = VALUES.tobytes("F")
) -> bytes:
    lines = [f"{name} = {value}" for name, value in {**META, **(change or {})}.items()]
    return ("\n".join(lines) + f"\n{more}ElementDataFile = {file}\n").encode() + data


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Write a file and see that it is refused before SimpleITK is asked."""

    def check(name: str, content: bytes, message: str) -> None:
        (tmp_path / name).write_bytes(content)
        monkeypatch.setattr(sitk, "ImageFileReader", lambda: pytest.fail("native code was given the file"))
        with pytest.raises(InputError, match=message) as caught:
            read(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600

    return check


@pytest.mark.parametrize(("name", "content"), [("a.nrrd", nrrd()), ("a.mha", meta())])
def test_the_sound_files_are_read(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / name).array, VALUES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": "4000 4000 4000"}, r"asks for 128000000000 bytes, the file has 48; it is cut off"),
        ({"sizes": "4294967296 4294967296 4294967296"}, "asks for"),
        ({"sizes": "4000 4000 4000", "encoding": "gzip"}, "asks for 128000000000 bytes, the file has 48 compressed"),
        ({"sizes": "-4 3 2"}, "expected whole numbers of at least 1"),
        ({"sizes": "4 0 2"}, "expected whole numbers of at least 1"),
        ({"sizes": "4 3 2.5"}, "expected whole numbers of at least 1"),
        ({"sizes": "4 3"}, "it has 2 sizes, but dimension '3'"),
        ({"sizes": ""}, "it has 0 sizes"),
        ({"dimension": "-3"}, "but dimension '-3'"),
        ({"dimension": "16", "sizes": " ".join("1" * 16)}, "has 16 dimensions"),
        ({"type": "block"}, "its type is 'block'"),
        ({"encoding": "zrl"}, "its encoding 'zrl'"),
        ({"encoding": "hex"}, "asks for 96 bytes"),
        ({"encoding": "ascii", "sizes": "40 3 2"}, "asks for 479 bytes"),
        ({"encoding": "bzip2"}, r"its encoding 'bzip2'; expected such as short, gzip"),
        ({"space units": '"um" "mm" "mm"'}, "has the unit 'mm, um'"),
        ({"data file": "/dev/zero"}, "names the file '/dev/zero'; expected one in its own folder"),
        ({"data file": "../x.raw"}, "names the file"),
        ({"data file": "%s%s%n.raw 1 10 1"}, "names the data file"),
        ({"data file": "x" * 300}, "names the data file"),
        ({"data file": "missing.raw"}, r"missing\.raw: no such file"),
        ({"data file": "."}, "is a folder"),
    ],
)
def test_hostile_nrrd(refused, change, message):
    refused("a.nrrd", nrrd(change), message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"DimSize": "4000 4000 4000"}, "asks for 128000000000 bytes, the file has 48"),
        ({"DimSize": "4000 4000 4000", "CompressedData": "True"}, "the file has 48 compressed"),
        ({"DimSize": "-4 -3 2"}, "expected whole numbers of at least 1"),
        ({"DimSize": "4 0 2"}, "expected whole numbers of at least 1"),
        ({"NDims": "100"}, "it has 3 sizes, but dimension '100'"),
        ({"NDims": "100", "DimSize": " ".join(["1"] * 100)}, "DimSize has 100 numbers; expected at most 25"),
        ({"NDims": "99999999"}, "but dimension '99999999'"),
        ({"NDims": "-3"}, "but dimension '-3'"),
        ({"Offset": "1 " * 20000}, "not a line of such a header"),
        ({"Offset": "1 " * 4000}, "Offset has 4000 numbers"),
        ({"Comment": "x" * 100_000}, "not a line of such a header"),
        ({"K" * 5000: "1"}, "not a line of such a header"),
        ({"ElementNumberOfChannels": "99999"}, "asks for"),
        ({"ElementNumberOfChannels": "-1"}, "'-1' channels"),
        ({"ElementType": "MET_FOO"}, "its ElementType is 'FOO'"),
        ({"ElementSpacing": "-1 1 1"}, "has the spacing -1 1 1; expected positive numbers"),
        (
            {"CompressedData": "True", "CompressedDataSize": "99999999999"},
            "CompressedDataSize is 99999999999, the file",
        ),
        ({"CompressedData": "True", "CompressedDataSize": "-5"}, "CompressedDataSize is -5"),
        ({"BinaryData": "False", "DimSize": "40 3 2"}, "asks for 479 bytes"),
        ({"DistanceUnits": "ft"}, "has the unit 'ft'"),
    ],
)
def test_hostile_metaimage(refused, change, message):
    refused("a.mha", meta(change), message)


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../a.raw", "%s%s%n", "x%03d.raw 1 2 1", "C:\\x.raw", "", "missing.raw"]
)
def test_hostile_data_files_of_a_metaimage(refused, file):
    refused("a.mhd", meta(file=file, data=b""), "names the (data )?file|no such file")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.nrrd", nrrd(more="sizes: 4000 4000 4000\n"), "sizes is given twice"),
        ("a.mha", meta(more="DimSize = 4000 4000 4000\n"), "DimSize is given twice"),
        ("a.mha", meta(more="word " * 100 + "\n"), "not a line of such a header"),
        ("a.mha", meta(more="a = \0\n"), "no ElementDataFile"),
        ("a.mha", b"\n" * 100_000, "no ElementDataFile"),
        ("a.nrrd", b"NRRD0004\n" + b"#" * (1 << 22), "its header has no end"),
        ("a.nrrd", b"NRRD0004\n", "it has 0 sizes"),
    ],
)
def test_headers_that_parsers_would_read_differently(refused, name, content, message):
    refused(name, content, re.escape(message))


def test_sizes_that_native_code_reads_differently_are_an_error(tmp_path, monkeypatch):
    (tmp_path / "a.nrrd").write_bytes(nrrd())
    monkeypatch.setattr(sitk.ImageFileReader, "GetSize", lambda _: (4, 3, 3))
    with pytest.raises(InputError, match=r"SimpleITK reads other sizes, \(4, 3, 3\)"):
        read(tmp_path / "a.nrrd")


def test_key_values_and_comments_that_look_like_fields(tmp_path):
    more = "# sizes: 9 9 9\nsizes:=9 9 9\nspace:=RAS\nnote:=type: double\n"
    (tmp_path / "a.nrrd").write_bytes(nrrd(more=more))
    np.testing.assert_array_equal(read(tmp_path / "a.nrrd").array, VALUES)


def test_the_texts_that_itk_takes_over_from_dicom(tmp_path):
    image = sitk.GetImageFromArray(VALUES.T)
    texts = {
        "0010|0010": "A^B = c: d",
        "0010|4000": "long text " * 500,
        "0028|0030": "0.5\\0.5",
        "note": "two\na: 2\na: 3",
    }
    for key, text in {**texts, "numbers": " ".join(map(str, range(100)))}.items():
        image.SetMetaData(key, text)
    for name in ("a.mha", "a.nrrd"):
        sitk.WriteImage(image, str(tmp_path / name))
        np.testing.assert_array_equal(read(tmp_path / name).array, VALUES)


def test_windows_line_ends_and_compression(tmp_path):
    header = nrrd({"encoding": "gzip"}, data=b"").replace(b"\n", b"\r\n")
    (tmp_path / "a.nrrd").write_bytes(header + gzip.compress(VALUES.tobytes("F")))
    np.testing.assert_array_equal(read(tmp_path / "a.nrrd").array, VALUES)


@pytest.mark.parametrize("listed", [False, True])
def test_voxels_in_files_of_their_own(tmp_path, listed):
    names = [f"slice {k}.raw" for k in range(2)] if listed else ["all.raw"]
    for k, name in enumerate(names):
        (tmp_path / name).write_bytes((VALUES[:, :, k] if listed else VALUES).tobytes("F"))
    text = "\n".join(["LIST", *names]) + "\n" if listed else names[0]
    (tmp_path / "a.nhdr").write_bytes(nrrd(more=f"data file: {text}\n", data=b"").rstrip() + b"\n")
    (tmp_path / "a.mhd").write_bytes(meta(file=text.replace("LIST", "LIST 2"), data=b""))
    for name in ("a.nhdr", "a.mhd"):
        np.testing.assert_array_equal(read(tmp_path / name).array, VALUES)
    (tmp_path / names[-1]).write_bytes(b"\0")
    for name in ("a.nhdr", "a.mhd"):
        with pytest.raises(InputError, match="its header asks for 48 bytes"):
            read(tmp_path / name)


@pytest.mark.parametrize(("check", "sound"), [(check_nrrd, nrrd()), (check_meta, meta())])
def test_spoilt_text_is_a_header_or_a_reason(tmp_path, check, sound):
    rng = np.random.default_rng(2)
    path = tmp_path / "a.nrrd"
    path.write_bytes(sound)
    passed = 0
    for _ in range(1500):
        content = bytearray(sound)
        for _ in range(rng.integers(1, 4)):
            at, length = int(rng.integers(len(content))), int(rng.integers(4))
            content[at : at + length] = bytes(rng.choice([b"0", b"-", b"9" * 20, b"\n", b": ", b"\xff", b"\xd9\xa3"]))
        try:
            header = check(bytes(content), path)
        except VolsegError:
            continue
        passed += 1
        assert 1 <= header.numbers <= len(sound)
    assert 100 < passed < 1500


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("axis mins: 0 0 0\naxis maxs: 9 9 9\n", "says where its axes end, but not its spacing"),
        ("spacings: 1 1 nan\n", "its spacings are 1 1 nan; expected numbers"),
        ("space: lps\nspace directions: (1,0,0) (0,1,0) none\n", "its space directions have 2 vectors; expected 3"),
        ("spacings: 1 1 1\nbyte skip: -5\n", "its byte skip is '-5'; expected -1 or a count"),
    ],
)
def test_nrrd_that_would_be_a_guess_is_refused(tmp_path, lines, message):
    header = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nencoding: raw\nendian: little\n{lines}\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(48))
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.nrrd")


def test_spacing_that_is_not_said_is_said(tmp_path, caplog):
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nencoding: raw\nendian: little\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(48))
    assert read(tmp_path / "a.nrrd").grid.spacing == (1, 1, 1)
    assert "a.nrrd: does not say its spacing; taken as 1 mm" in caplog.text


def test_units_of_axes_count(tmp_path):
    lines = 'spacings: 20 20 20\nunits: "um" "um" "um"'
    header = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nencoding: raw\nendian: little\n{lines}\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(48))
    assert read(tmp_path / "a.nrrd").grid.spacing == pytest.approx((0.02, 0.02, 0.02))


SPARSE = [
    ("a.nrrd", "type: uchar\ndimension: 3\nsizes: 100 100 10\nspacings: 1 1 1", 100_000, 1),
    ("a.nrrd", "type: double\ndimension: 3\nsizes: 100 100 10\nspacings: 1 1 1", 100_000 * 8, 1.5),
    (
        "a.nrrd",
        "type: uchar\ndimension: 4\nsizes: 100 100 10 2\nspacings: 1 1 1 nan\nkinds: domain domain domain list",
        200_000,
        2,
    ),
    ("a.mha", "NDims = 3\nDimSize = 100 100 10\nElementSpacing = 1 1 1\nElementType = MET_UCHAR", 100_000, 1),
    ("a.mha", "NDims = 3\nDimSize = 100 100 10\nElementSpacing = 1 1 1\nElementType = MET_DOUBLE", 100_000 * 8, 1.5),
]


@pytest.mark.parametrize(("name", "lines", "size", "copies"), SPARSE)
def test_what_swells_is_bounded_by_the_memory_that_reading_takes(tmp_path, monkeypatch, name, lines, size, copies):
    """Numbers that are converted, and volumes that are sorted, are there twice for a while."""
    packed = gzip.compress(bytes(size)) if name == "a.nrrd" else zlib.compress(bytes(size))
    head = f"NRRD0005\n{lines}\nendian: little\nencoding: gzip\n\n"
    if name == "a.mha":
        head = f"{lines}\nCompressedData = True\nCompressedDataSize = {len(packed)}\nElementDataFile = LOCAL\n"
    path = tmp_path / name
    path.write_bytes(head.encode() + packed)
    monkeypatch.setattr("volseg.files.streams.most_unpacked", lambda _, always: size * copies - 1)
    with pytest.raises(InputError, match=r"a\.(nrrd|mha): \d+ bytes would become .* give the file uncompressed"):
        read_all(path)
    monkeypatch.setattr("volseg.files.streams.most_unpacked", lambda _, always: size * copies)
    assert not any(volume.array.any() for volume in read_all(path).values())


@pytest.mark.parametrize(
    ("layers", "slices", "refused"), [(4, 600, False), (5, 600, True), (1, 2000, False), (1, 6000, True)]
)
def test_segmentations_of_a_body_that_shrink_a_thousandfold_are_read(tmp_path, layers, slices, refused):
    """Their layers are parted when they are read, so that they are there twice."""
    sizes, more = f"512 512 {slices}", "Segment0_ID:=a\n"
    lines = ["NRRD0004", "type: uchar", "space: left-posterior-superior", "encoding: gzip"]
    if layers > 1:
        lines += ["dimension: 4", f"sizes: {layers} {sizes}", "space directions: none (1,0,0) (0,1,0) (0,0,1)"]
    else:
        lines += ["dimension: 3", f"sizes: {sizes}", "space directions: (1,0,0) (0,1,0) (0,0,1)"]
    header = ("\n".join(lines) + f"\n{more}\n").encode()
    path = tmp_path / "a.seg.nrrd"
    with path.open("wb") as file:  # the voxels are not decoded here
        file.write(header)
        file.truncate(len(header) + layers * 512 * 512 * slices // 1000)
    if refused:
        with pytest.raises(InputError, match="would become"):
            check_nrrd(header, path)
    else:
        assert check_nrrd(header, path).numbers == layers * 512 * 512 * slices


@pytest.mark.parametrize(("name", "content"), [("a.nrrd", nrrd()), ("a.mha", meta())])
def test_the_voxels_outlive_the_image_they_were_read_into(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    arrays = []
    gc.freeze()  # what was there before is not searched 50 times
    try:
        for _ in range(50):  # memory that was given back would be used again
            arrays.append(read(tmp_path / name).array)
            gc.collect()
            arrays[-1] += 1
    finally:
        gc.unfreeze()
    for array in arrays:
        np.testing.assert_array_equal(array, VALUES + 1)


def test_voxels_are_not_copied(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((64, 1024, 1024), np.uint8)), str(tmp_path / "a.mha"))
    script = (
        "import resource; from pathlib import Path; from volseg.io import read, read_grid\n"
        f"path = Path({str(tmp_path / 'a.mha')!r}); read_grid(path)\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); read(path); print(peak() - before)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 1.5 * 64 * 1024


def test_compressed_voxels_of_metaimage_in_several_files_are_whole(tmp_path):
    slices = np.arange(4 * 400, dtype="<i2").reshape(4, 400)
    for number, values in enumerate(slices):
        (tmp_path / f"{number}.zraw").write_bytes(zlib.compress(values.tobytes()))
    head = "NDims = 3\nBinaryData = True\nCompressedData = True\nDimSize = 20 20 4\nElementSpacing = 1 1 1\n"
    names = "".join(f"{number}.zraw\n" for number in range(4))
    (tmp_path / "a.mhd").write_text(f"{head}ElementType = MET_SHORT\nElementDataFile = LIST\n{names}")
    np.testing.assert_array_equal(read(tmp_path / "a.mhd").array.ravel(order="F"), slices.ravel())
    (tmp_path / "2.zraw").write_bytes(zlib.compress(slices[2].tobytes()[:300]))
    with pytest.raises(InputError, match=r"a\.mhd: .*2\.zraw: 500 bytes of the voxels are missing"):
        read(tmp_path / "a.mhd")


@pytest.mark.parametrize("less", [0, 1, 300])
def test_fewer_compressed_bytes_than_the_stream_has_are_refused(tmp_path, less):
    voxels = np.arange(20**3, dtype="<i2").tobytes()
    packed = zlib.compress(voxels)
    head = (
        "NDims = 3\nBinaryData = True\nCompressedData = True\nDimSize = 20 20 20\nElementSpacing = 1 1 1\n"
        f"ElementType = MET_SHORT\nCompressedDataSize = {len(packed) - less}\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "a.mha").write_bytes(head.encode() + packed)
    if less:
        with pytest.raises(InputError, match=r"a\.mha: .*the compressed voxels are cut off"):
            read(tmp_path / "a.mha")
    else:
        assert read(tmp_path / "a.mha").array.tobytes(order="F") == voxels


@pytest.mark.parametrize("detached", [False, True])
def test_compressed_voxels_of_metaimage_are_whole(tmp_path, detached):
    """MetaImage's parser leaves what it cannot decompress as it is in memory."""
    voxels = np.arange(20**3, dtype="<i2").tobytes()
    whole = zlib.compress(voxels)
    flipped = bytearray(whole)
    flipped[-2] ^= 0xFF  # in the checksum
    damages = {
        "8000 bytes of the voxels are missing": zlib.compress(voxels[:8000]),
        "cut off": whole[:-100],
        "incorrect data check": bytes(flipped),
    }
    path = tmp_path / ("a.mhd" if detached else "a.mha")
    for reason, content in {**damages, "": whole}.items():
        head = (
            "NDims = 3\nBinaryData = True\nCompressedData = True\nDimSize = 20 20 20\nElementSpacing = 1 1 1\n"
            f"ElementType = MET_SHORT\nCompressedDataSize = {len(content)}\n"
            f"ElementDataFile = {'a.zraw' if detached else 'LOCAL'}\n"
        )
        path.write_bytes(head.encode() + (b"" if detached else content))
        (tmp_path / "a.zraw").write_bytes(content)
        if reason:
            with pytest.raises(InputError, match=f"{path.name}: .*{reason}"):
                read(path)
        else:
            assert read(path).array.tobytes(order="F") == voxels

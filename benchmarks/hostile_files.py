"""Inputs of `benchmarks/hostile.py`: each function makes one in a folder and returns the commands to try on it.

In a command ``@`` is that folder.
"""

import gzip
import io
import json
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

MB = 1 << 20
CASES: dict[str, Callable[[Path], list[str]]] = {}


def case(name: str) -> Callable[[Callable[[Path], list[str]]], Callable[[Path], list[str]]]:
    """Enter a function under the name of its input."""

    def enter(make: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
        CASES[name] = make
        return make

    return enter


@case("")
def sound(folder: Path) -> list[str]:
    """Make a sound scan and a dataset, which others need."""
    array = np.zeros((24, 20, 16), np.uint8)
    array[6:18, 5:15, 4:12] = 1
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), folder / "scan.nii.gz")
    for name in ("imagesTr", "labelsTr"):
        (folder / "dataset" / name).mkdir(parents=True)
        for n in range(3):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), folder / "dataset" / name / f"case_{n}.nii.gz")
    return []


# ---------------------------------------------------------------------------------------------- NIfTI, NRRD, MetaImage


def nifti_header(shape: tuple[int, ...], dtype: type, slope: float = 1) -> bytes:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header["dim"][: len(shape) + 1] = [len(shape), *shape]
    header["pixdim"][1:4] = 1
    header["sform_code"] = 1
    header["srow_x"][0] = header["srow_y"][1] = header["srow_z"][2] = 1
    header["magic"], header["vox_offset"], header["scl_slope"] = b"n+1", 352, slope
    return header.binaryblock + bytes(4)


def zeros(path: Path, head: bytes, size: int) -> None:
    """Write a gzip of a header and zeros, a thousandth of their size."""
    with gzip.open(path, "wb") as stream:
        stream.write(head)
        block = bytes(16 * MB)
        for start in range(0, size, len(block)):
            stream.write(block[: size - start])


@case("gzip bomb of 1 GB")
def gzip_bomb(folder: Path) -> list[str]:
    zeros(folder / "scan.nii.gz", nifti_header((1000, 1000, 1000), np.uint8), 10**9)
    return ["inspect @/scan.nii.gz", "mesh @/scan.nii.gz -o @/meshes", "measure @/scan.nii.gz"]


@case("gzip bomb of 0.9 GB that is scaled")
def scaled_bomb(folder: Path) -> list[str]:
    zeros(folder / "scan.nii.gz", nifti_header((1000, 1000, 900), np.uint8, 0.5), 9 * 10**8)
    return ["inspect @/scan.nii.gz"]


@case("gzip bomb behind the voxels")
def tail_bomb(folder: Path) -> list[str]:
    zeros(folder / "scan.nii.gz", nifti_header((10, 10, 10), np.uint8), 20 * 10**9 if "FULL" in os.environ else 10**9)
    return ["inspect @/scan.nii.gz"]


@case("NIfTI that asks for 30 TB")
def lying_nifti(folder: Path) -> list[str]:
    (folder / "scan.nii").write_bytes(nifti_header((30000, 30000, 30000), np.uint8))
    zeros(folder / "scan.nii.gz", nifti_header((30000, 30000, 30000), np.uint8), 1000)
    return ["inspect @/scan.nii", "inspect @/scan.nii.gz"]


@case("NIfTI of 30 000 volumes")
def many_volumes(folder: Path) -> list[str]:
    zeros(folder / "scan.nii.gz", nifti_header((1, 1, 1, 30000), np.uint8), 30000)
    return ["inspect @/scan.nii.gz"]


@case("NRRD bomb")
def nrrd_bomb(folder: Path) -> list[str]:
    head = "NRRD0005\ntype: uchar\ndimension: 3\nsizes: 1000 1000 1000\nspacings: 1 1 1\nencoding: gzip\n\n"
    zeros(folder / "voxels.gz", b"", 10**9)
    (folder / "scan.nrrd").write_bytes(head.encode() + (folder / "voxels.gz").read_bytes())
    (folder / "huge.nrrd").write_text(head.replace("1000", "100000"))
    (folder / "device.nhdr").write_text(head.replace("gzip", "raw").rstrip() + "\ndata file: /dev/zero\n")
    return ["inspect @/scan.nrrd", "inspect @/huge.nrrd", "inspect @/device.nhdr"]


@case("MetaImage that lies")
def lying_meta(folder: Path) -> list[str]:
    head = "ObjectType = Image\nNDims = 3\nDimSize = 900 900 900\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\n"
    packed = zlib.compress(bytes(900**3))
    size = f"CompressedData = True\nCompressedDataSize = {len(packed)}\nElementDataFile = LOCAL\n"
    (folder / "bomb.mha").write_bytes((head + size).encode() + packed)
    (folder / "size.mha").write_text(
        head + "CompressedData = True\nCompressedDataSize = 9999999999999\nElementDataFile = LOCAL\n"
    )
    (folder / "dims.mha").write_text(head.replace("NDims = 3", "NDims = 100") + "ElementDataFile = LOCAL\n")
    return ["inspect @/bomb.mha", "inspect @/size.mha", "inspect @/dims.mha"]


@case("NRRD bombs of fractions and of two volumes")
def converted_nrrd(folder: Path) -> list[str]:
    """Make voxels that are small enough as stored, but not in the type that is read."""
    head = "NRRD0005\ntype: {}\ndimension: {}\nsizes: {}\nspacings: 1 1 1{}\nencoding: gzip\nendian: little\n\n"
    zeros(folder / "voxels.gz", b"", 10**9)
    packed = (folder / "voxels.gz").read_bytes()
    of_two = "4\nkinds: domain domain domain list"
    heads = {
        "double": head.format("double", "3", "500 500 500", ""),
        "two": head.format("uchar", of_two, "1000 1000 500 2", " nan"),
        "layers": head.format("uchar", of_two, "2 1000 1000 500", " 1").replace(
            "domain domain domain list", "list domain domain domain"
        ),
    }
    for name, text in heads.items():
        (folder / f"{name}.nrrd").write_bytes(text.encode() + packed)
    segments = "".join(f"Segment{n}_{key}:={n}\n" for n in (0, 1) for key in ("ID", "Name", "Layer"))
    segments += "".join(f"Segment{n}_LabelValue:=1\n" for n in (0, 1))
    zeros(folder / "least.gz", b"\1", 629 * 10**6 - 1)
    for name, slices, data in (("most", 500, packed), ("least", 314, (folder / "least.gz").read_bytes())):
        text = head.format("uchar", "4\nkinds: list domain domain domain", f"2 1000 1000 {slices}", " 1")
        text = text.replace("spacings: 1 1 1 1", "space: lps\nspace directions: none (1,0,0) (0,1,0) (0,0,1)")
        (folder / f"{name}.seg.nrrd").write_bytes(text[:-1].encode() + f"{segments}\n".encode() + data)
    layered = [f"measure @/{name}.seg.nrrd" for name in ("most", "least")]
    return [*(f"inspect @/{name}.nrrd" for name in heads), *layered, "mesh @/least.seg.nrrd -o @/meshes"]


@case("compressed data that go on behind the voxels")
def long_data(folder: Path) -> list[str]:
    head = "NRRD0005\ntype: uchar\ndimension: 3\nsizes: 10 10 10\nspacings: 1 1 1\nencoding: gzip\n\n"
    zeros(folder / "voxels.gz", b"", 2 * 10**9)
    (folder / "a.nrrd").write_bytes(head.encode() + (folder / "voxels.gz").read_bytes())
    packed = zlib.compress(bytes(10**9))
    head = "ObjectType = Image\nNDims = 3\nDimSize = 10 10 10\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\n"
    head += f"CompressedData = True\nCompressedDataSize = {len(packed)}\nElementDataFile = LOCAL\n"
    (folder / "a.mha").write_bytes(head.encode() + packed)
    return ["inspect @/a.nrrd", "inspect @/a.mha"]


# --------------------------------------------------------------------------------------------------------------- labels


@case("label map of noise")
def noise(folder: Path) -> list[str]:
    random = np.random.default_rng(0)
    commands = []
    for name, values in (("one", 1), ("few", 20), ("many", 200)):
        array = random.integers(0, values + 1, (512, 512, 300), np.uint8)
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), folder / f"{name}.nii")
        rows = "".join(f"{value}\tlabel {value}\n" for value in range(1, values + 1))
        (folder / f"{name}.tsv").write_text(f"index\tname\n{rows}")
        commands += [
            f"mesh @/{name}.nii --labels @/{name}.tsv -o @/meshes",
            f"mesh @/{name}.nii --labels @/{name}.tsv -o @/walls --shared-walls",
            f"measure @/{name}.nii --labels @/{name}.tsv --pieces",
            f"evaluate @/{name}.nii @/{name}.nii --labels @/{name}.tsv",
            f"view @/{name}.nii --labels @/{name}.tsv --screenshot @/{name}.png",
        ]
    return [*commands, "mesh @/many.nii --threshold 100 -o @/meshes", "mesh @/one.nii --print-ready -o @/solid"]


@case("label map of noise just below the bounds")
def least_noise(folder: Path) -> list[str]:
    array = np.random.default_rng(0).integers(0, 2, (125, 125, 125), np.uint8)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), folder / "a.nii")
    nibabel.save(nibabel.Nifti1Image(1 - array, np.eye(4)), folder / "b.nii")
    return ["mesh @/a.nii -o @/meshes", "measure @/a.nii", "evaluate @/a.nii @/b.nii"]


# ---------------------------------------------------------------------------------------------------------------- DICOM


def slice_of(number: int, rows: int = 64, columns: int = 64) -> Dataset:
    """Make a CT slice without pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"1.2.3.{number + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "1.2.4", "1.2.5", "1.2.6"
    dataset.Modality, dataset.PatientID, dataset.InstanceNumber, dataset.SeriesNumber = "CT", "x", number + 1, 1
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 1
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    return dataset


def stored(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def with_zeros(dataset: Dataset, frames: int = 1) -> bytes:
    dataset.NumberOfFrames = frames
    dataset.PixelData = bytes(2 * dataset.Rows * dataset.Columns * frames)
    return stored(dataset)


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """Return an element in explicit little endian, with a length that may be wrong."""
    size = len(value) if length is None else length
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC"):
        return struct.pack("<HH2sHI", group, number, vr, 0, size) + value
    return struct.pack("<HH2sH", group, number, vr, size) + value


def with_elements(content: bytes) -> bytes:
    """Return a slice with further elements behind all others, before its pixels."""
    dataset = slice_of(0)
    pixels = element(0x7FE0, 0x10, b"OW", bytes(2 * 64 * 64))
    return stored(dataset) + content + pixels


@case("DICOM of 2 million elements")
def many_elements(folder: Path) -> list[str]:
    numbers = np.zeros(2_000_000, [("group", "<u2"), ("element", "<u2"), ("vr", "S2"), ("length", "<u2")])
    numbers["group"], numbers["element"], numbers["vr"] = 0x7001, np.arange(2_000_000) % 0xEFFF + 0x1000, b"LO"
    numbers["group"] += (2 * (np.arange(2_000_000) // 0xEFFF)).astype("<u2")
    (folder / "a.dcm").write_bytes(with_elements(numbers.tobytes()))
    return ["inspect @/a.dcm"]


@case("DICOM with a length of 4 GB")
def lying_length(folder: Path) -> list[str]:
    (folder / "a.dcm").write_bytes(stored(slice_of(0)) + element(0x7001, 0x1010, b"OB", b"x", 0xFFFFFFF0))
    (folder / "b.dcm").write_bytes(stored(slice_of(1)) + element(0x7FE0, 0x10, b"OW", b"x", 0xFFFFFFF0))
    text = stored(slice_of(2)).replace(b"\x08\x00\x60\x00CS\x02\x00CT", b"\x08\x00\x60\x00UT\x00\x00\xf0\xff\xff\xff")
    (folder / "c.dcm").write_bytes(text)
    sequence = element(0x3006, 0x39, b"SQ", b"\xfe\xff\x00\xe0\xf0\xff\xff\xff", 0xFFFFFFF0)
    dataset = slice_of(3)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    (folder / "rt.dcm").write_bytes(stored(dataset) + sequence)
    return [f"inspect @/{name}.dcm" for name in ("a", "b", "c", "rt")]


@case("DICOM with a sequence in a sequence, 50 000 deep")
def deep_sequences(folder: Path) -> list[str]:
    item = element(0x0040, 0x0275, b"SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    (folder / "a.dcm").write_bytes(
        with_elements(b"").replace(b"\x28\x00\x02\x00", item * 50_000 + b"\x28\x00\x02\x00", 1)
    )
    wanted = element(0x5200, 0x9229, b"SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    (folder / "b.dcm").write_bytes(stored(slice_of(0)) + wanted * 50_000)
    return ["inspect @/a.dcm", "inspect @/b.dcm"]


@case("DICOM with 20 million numbers in a position")
def long_value(folder: Path) -> list[str]:
    number = b"1\\" * 20_000_000 + b"1 "
    place = b"\x20\x00\x32\x00DS"
    content = with_elements(b"")
    start = content.index(place)
    size = struct.unpack("<H", content[start + 6 : start + 8])[0]
    value = struct.pack("<HH2sHI", 0x20, 0x32, b"UT", 0, len(number)) + number
    (folder / "a.dcm").write_bytes(content[:start] + value + content[start + 8 + size :])
    # In implicit little endian a number may be as long as that.
    dataset = slice_of(0)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    content = stored(dataset)
    start = content.index(b"\x20\x00\x32\x00")
    size = struct.unpack("<I", content[start + 4 : start + 8])[0]
    value = struct.pack("<HHI", 0x20, 0x32, len(number)) + number
    (folder / "b.dcm").write_bytes(content[:start] + value + content[start + 8 + size :])
    return ["inspect @/a.dcm", "inspect @/b.dcm"]


@case("DICOM of a million frames")
def many_frames(folder: Path) -> list[str]:
    dataset = slice_of(0, 1, 1)
    (folder / "a.dcm").write_bytes(with_zeros(dataset, 1_000_000))
    (folder / "b.dcm").write_bytes(with_zeros(dataset, 100_000))
    return ["inspect @/a.dcm", "inspect @/b.dcm"]


@case("DICOM that asks for more pixels than it has")
def lying_pixels(folder: Path) -> list[str]:
    dataset = slice_of(0, 65535, 65535)
    dataset.PixelData = bytes(2000)
    (folder / "a.dcm").write_bytes(stored(dataset))
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.PixelData = encapsulate([struct.pack("<16I", 2, 64, 80, *[0] * 13) + bytes(64)])
    dataset["PixelData"].is_undefined_length = True
    (folder / "b.dcm").write_bytes(stored(dataset))
    return ["inspect @/a.dcm", "inspect @/b.dcm"]


@case("DICOM, deflated bomb")
def deflated_bomb(folder: Path) -> list[str]:
    dataset = slice_of(0, 16384, 16384)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.PixelData = bytes(2 * 16384 * 16384)
    dataset.save_as(folder / "a.dcm", enforce_file_format=True)
    return ["inspect @/a.dcm"]


@case("DICOM, compressed slices of nothing")
def empty_slices(folder: Path) -> list[str]:
    line = b"\x81\x00" * (2048 * 2048 // 128)
    head = struct.pack("<16I", 2, 64, 64 + len(line), *[0] * 13)
    for number in range(300):
        dataset = slice_of(number, 2048, 2048)
        dataset.file_meta.TransferSyntaxUID = RLELossless
        dataset.PixelData = encapsulate([head + line + line]) if number == 0 else encapsulate([head + b"\0\0"])
        dataset["PixelData"].is_undefined_length = True
        (folder / f"{number}.dcm").write_bytes(stored(dataset))
    return ["inspect @"]


@case("DICOM, gzipped bomb")
def gzipped_dicom(folder: Path) -> list[str]:
    (folder / "a.dcm.gz").write_bytes(gzip.compress(with_zeros(slice_of(0, 16384, 16384)), 9))
    return ["inspect @/a.dcm.gz"]


@case("contours of 60 million numbers")
def many_contours(folder: Path) -> list[str]:
    dataset = slice_of(0)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    dataset.Modality, dataset.file_meta.TransferSyntaxUID = "RTSTRUCT", "1.2.840.10008.1.2"
    contour, roi, described = Dataset(), Dataset(), Dataset()
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 3
    contour.add_new("ContourData", "DS", "")
    roi.ROIContourSequence, roi.ContourSequence, roi.ReferencedROINumber = [], [contour], 1
    del roi.ROIContourSequence
    described.ROINumber, described.ROIName = 1, "x"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [described], [roi]
    content = stored(dataset)
    (folder / "scan").mkdir()
    for number in range(3):
        (folder / "scan" / f"{number}.dcm").write_bytes(with_zeros(slice_of(number)))
    start = content.index(b"\x06\x30\x50\x00")
    numbers = b"1\\" * 60_000_000 + b"1 "
    grown = content[:start] + struct.pack("<HHI", 0x3006, 0x50, len(numbers)) + numbers + content[start + 8 :]
    for tag in (b"\x06\x30\x39\x00", b"\x06\x30\x40\x00"):  # sequences and their items grow with it
        place = grown.index(tag)
        for offset in (4, 12):
            size = struct.unpack("<I", grown[place + offset : place + offset + 4])[0]
            if size != 0xFFFFFFFF:
                size += len(numbers)
                grown = grown[: place + offset] + struct.pack("<I", size) + grown[place + offset + 4 :]
    (folder / "rt.dcm").write_bytes(grown)
    return ["mesh @/rt.dcm --image @/scan -o @/meshes"]


# ----------------------------------------------------------------------------------------------------------------- zips


def zipped(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@case("zip with one member of 950 MB")
def one_swollen(folder: Path) -> list[str]:
    zipped(folder / "a.zip", {"a.dcm": with_zeros(slice_of(0, 512, 512), 1812)})
    return ["inspect @/a.zip"]


@case("zip with 60 members of 60 MB")
def many_swollen(folder: Path) -> list[str]:
    zipped(folder / "a.zip", {f"{n}.dcm": with_zeros(slice_of(n, 5477, 5477)) for n in range(60)})
    return ["inspect @/a.zip", "convert @/a.zip @/out.nii.gz"]


@case("zip with 150 000 empty members")
def many_members(folder: Path) -> list[str]:
    zipped(folder / "a.zip", {f"{n}.dcm": b"" for n in range(150_000)}, zipfile.ZIP_STORED)
    zipped(folder / "b.zip", {f"{n}": b"" for n in range(150_000)}, zipfile.ZIP_STORED)
    return ["inspect @/a.zip", "inspect @/b.zip"]


@case("zip with bzip2 bomb")
def bzip2_member(folder: Path) -> list[str]:
    zipped(folder / "a.zip", {"a.dcm": bytes(10**9)}, zipfile.ZIP_BZIP2)
    return ["inspect @/a.zip"]


@case("zip with zips in it")
def nested_zips(folder: Path) -> list[str]:
    inner = zipped(folder / "inner.zip", {"a.dcm": bytes(10**8)}).read_bytes()
    for level in range(5):
        inner = zipped(folder / "inner.zip", {f"{level}-{n}.zip": inner for n in range(16)}).read_bytes()
    (folder / "inner.zip").rename(folder / "a.zip")
    return ["inspect @/a.zip"]


@case("zip whose members overlap")
def overlapping(folder: Path) -> list[str]:
    """David Fifield's kind: the directory names one file many times."""
    path = zipped(folder / "a.zip", {"0000.dcm": with_zeros(slice_of(0, 4096, 4096))})
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = content[start:end]
    entries = b"".join(entry.replace(b"0000.dcm", b"%04d.dcm" % n) for n in range(2000))
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2000, 2000, len(entries), start, 0)
    path.write_bytes(content[:start] + entries + tail)
    return ["inspect @/a.zip"]


# ------------------------------------------------------------------------------------------------- irregular files


@case("pipe")
def pipe(folder: Path) -> list[str]:
    sound(folder)
    names = ("a.nii.gz", "a.nrrd", "a.dcm", "a.zip", "a.tsv", "a.yaml", "a.obj", "a.safetensors")
    for name in names:
        os.mkfifo(folder / name)
    os.mkfifo(folder / "dataset" / "dataset.json")
    return [
        *(f"inspect @/{name}" for name in names[:4]),
        "mesh @/scan.nii.gz --labels @/a.tsv -o @/meshes",
        "train @/dataset -o @/run --plan-only --config @/a.yaml",
        "train @/dataset -o @/run --plan-only",
        "view @/a.obj --screenshot @/picture.png",
        "predict @/scan.nii.gz -m @/a.safetensors -o @/out",
    ]


@case("device")
def device(folder: Path) -> list[str]:
    sound(folder)
    for name in ("a.nii", "a.tsv", "a.yaml", "a.ply", "a.safetensors", "a.mha", "a.vtp"):
        (folder / name).symlink_to("/dev/zero")
    return [
        "inspect /dev/zero",
        "inspect @/a.nii",
        "inspect @/a.mha",
        "mesh @/scan.nii.gz --labels @/a.tsv -o @/meshes",
        "train @/dataset -o @/run --plan-only --config @/a.yaml",
        "view @/a.ply --screenshot @/ply.png",
        "view @/a.vtp --screenshot @/vtp.png",
        "predict @/scan.nii.gz -m @/a.safetensors -o @/out",
    ]


# ------------------------------------------------------------------------------------------------- texts and models


@case("YAML bombs")
def yaml_bombs(folder: Path) -> list[str]:
    sound(folder)
    laugh = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    texts = {
        "laugh": "\n".join([*laugh, "training: {epochs: *a11}"]),
        "self": "training: &a {epochs: *a}",
        "deep": "training: " + "[" * 20_000,
        "number": "training: {epochs: " + "9" * 5000 + "}",
        "date": "training: {epochs: 2001-99-99}",
        "long": "# " + "x" * 10**8,
    }
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return [f"train @/dataset -o @/run --plan-only --config @/{name}.yaml" for name in texts]


@case("JSON and tables")
def long_texts(folder: Path) -> list[str]:
    sound(folder)
    texts = {
        "deep.json": "[" * 10**6,
        "number.json": '{"labels": {"x": ' + "9" * 10**5 + "}}",
        "lists.json": "[" + "[]," * 10**7 + "[]]",
        "rows.tsv": "index\tname\n" + "1\t\n" * 5_000_000,
        "columns.tsv": "index\tname" + "\ta" * 4_000_000 + "\n",
        "long.tsv": "x" * 10**8,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "dataset" / "dataset.json").write_text(texts["deep.json"])
    return [
        *(f"mesh @/scan.nii.gz --labels @/{name} -o @/meshes" for name in texts),
        "train @/dataset -o @/run --plan-only",
    ]


@case("model with a spacing of a nanometre")
def absurd_model(folder: Path) -> list[str]:
    from volseg.network.digest import OPEN, seal

    sound(folder)
    content = (Path(__file__).parents[1] / "volseg" / "models" / "hippocampus.safetensors").read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    for name, spacing in (("small", 0.01), ("tiny", 1e-9), ("nothing", 0), ("huge", 1e300)):
        description = json.loads(header["__metadata__"]["volseg"])
        description["config"]["preparation"]["spacing_mm"] = [spacing] * 3
        description["digest"] = OPEN
        text = json.dumps({**header, "__metadata__": {"volseg": json.dumps(description)}}).encode()
        blob = struct.pack("<Q", len(text)) + text + content[8 + size :]
        (folder / f"{name}.safetensors").write_bytes(seal(blob))
    return [f"predict @/scan.nii.gz -m @/{name}.safetensors -o @/out" for name in ("small", "tiny", "nothing", "huge")]


@case("model whose header lies")
def lying_model(folder: Path) -> list[str]:
    sound(folder)
    tensor = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4 << 40]}
    texts = {"length": b"{}", "tensor": json.dumps({"net.axial.0.x": tensor}).encode(), "deep": b"[" * 10**6}
    for name, text in texts.items():
        size = 1 << 60 if name == "length" else len(text)
        (folder / f"{name}.safetensors").write_bytes(struct.pack("<Q", size) + text + bytes(8))
    return [f"predict @/scan.nii.gz -m @/{name}.safetensors -o @/out" for name in texts]


# --------------------------------------------------------------------------------------------------------------- meshes


@case("meshes that lie or point elsewhere")
def meshes(folder: Path) -> list[str]:
    body = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    os.mkfifo(folder / "pipe.mtl")
    piece = '<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian"><PolyData><Piece NumberOfPoints="{0}" '
    piece += 'NumberOfPolys="{0}"><Points><DataArray type="Float32" NumberOfComponents="3" format="ascii">0 0 0'
    piece += "</DataArray></Points></Piece></PolyData></VTKFile>"
    laugh = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "x">'
    laugh += "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)) + "]>"
    header = "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"
    header += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    block = '<VTKFile type="vtkMultiBlockDataSet"><vtkMultiBlockDataSet><DataSet index="0" file="{}"/>'
    block += "</vtkMultiBlockDataSet></VTKFile>"
    texts = {
        "zero.obj": "mtllib /dev/zero\n" + body,
        "pipe.obj": "mtllib pipe.mtl\n" + body,
        "index.obj": body.replace("1 2 3", "1 2 999999999999999999999"),
        "huge.vtp": piece.format(10**12),
        "most.vtp": piece.format(2**63 - 1),
        "laugh.vtp": laugh + "<VTKFile>&a9;</VTKFile>",
        "zero.vtm": block.format("/dev/zero"),
        "outside.vtm": block.format("../../../../dev/zero.vtp"),
        "laugh.vtm": laugh + "<VTKFile>&a9;</VTKFile>",
        "deep.vtm": "<a>" * 10**6,
        "ascii.ply": header.format("ascii", 10**12),
        "binary.ply": header.format("binary_little_endian", 10**12),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "count.stl").write_bytes(bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(50))
    return [f"view @/{name} --screenshot @/{name}.png" for name in (*texts, "count.stl")]


if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](Path(sys.argv[2]))))

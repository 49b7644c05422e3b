from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from handmade_dicom import jpeg_of_blocks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    MPEG2MPML,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import InputError, MissingPackageError
from volseg.io import read
from volseg.io.dicom.writing import write_dicom_series


@pytest.fixture
def scan() -> Volume:
    grid = Grid.from_spacing((40, 36, 6), (0.7, 0.9, 2.0), (10, -20, 30))
    array = np.random.default_rng(0).integers(-1024, 3072, grid.shape).astype(np.int16)
    return Volume(array, grid, modality="CT")


@pytest.fixture
def files(scan: Volume, tmp_path: Path) -> list[Path]:
    return write_dicom_series(scan, tmp_path / "scan")


def edit(path: Path, change: Any) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_lossless_compression_changes_nothing(scan: Volume, files: list[Path], syntax: str) -> None:
    for path in files:
        edit(path, lambda d: d.compress(syntax))
    np.testing.assert_array_equal(read(files[0].parent).array, scan.array)


def test_jpeg_lossless_by_gdcm(scan: Volume, files: list[Path]) -> None:
    gdcm = pytest.importorskip("gdcm")
    for path in files:
        reader, writer, change = gdcm.ImageReader(), gdcm.ImageWriter(), gdcm.ImageChangeTransferSyntax()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    assert pydicom.dcmread(files[0]).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    np.testing.assert_array_equal(read(files[0].parent).array, scan.array)


def test_a_crash_of_a_decoder_costs_one_scan(
    scan: Volume, files: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in files:
        edit(path, lambda d: d.compress(RLELossless))
    site = tmp_path / "site"
    site.mkdir()
    # The decoder process dies as by a fault in native code; this one must not.
    (site / "sitecustomize.py").write_text("import os, pydicom.pixels as p\np.get_decoder = lambda s: os.abort()\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site))
        with pytest.raises(
            InputError, match=r"0001.dcm: the pixels cannot be decoded \(pylibjpeg: the decoder crashed\)"
        ):
            read(files[0].parent)
    np.testing.assert_array_equal(read(files[0].parent).array, scan.array)


def test_damaged_stream_is_an_error_of_its_file(files: list[Path]) -> None:
    for path in files:
        edit(path, lambda d: d.compress(JPEG2000Lossless))
    edit(files[3], lambda d: setattr(d, "PixelData", encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])))
    with pytest.raises(InputError, match=r"0004.dcm: the pixels cannot be decoded"):
        read(files[0].parent)


def test_syntax_without_a_free_decoder_is_named(files: list[Path]) -> None:
    def film(dataset: Any) -> None:
        dataset.file_meta.TransferSyntaxUID = MPEG2MPML
        dataset.PixelData = encapsulate([bytes(60)])
        dataset["PixelData"].is_undefined_length = True

    for path in files:
        edit(path, film)
    with pytest.raises(
        MissingPackageError, match=r"0001.dcm: the pixels are compressed with MPEG2 .*; convert the files"
    ):
        read(files[0].parent)


@pytest.mark.parametrize("signed", [0, 1])
def test_bits_beyond_those_stored_are_no_values(files: list[Path], signed: int) -> None:
    values = np.resize(np.arange(-2048, 2048, 7) if signed else np.arange(0, 4096, 5), (36, 40))

    def dirty(dataset: Any) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, signed
        dataset.PixelData = ((values & 0x0FFF) | 0xA000).astype("<u2").tobytes()

    edit(files[0], dirty)
    np.testing.assert_array_equal(read(files[0]).array[:, :, 0], values.T)


def test_modality_table_is_applied(files: list[Path]) -> None:
    def table(dataset: Any) -> None:
        item = pydicom.Dataset()
        item.LUTDescriptor = [16, 0, 16]
        item["LUTDescriptor"].VR = "US"
        item.add_new(0x00283006, "US", [int(n) for n in np.arange(16) ** 2 * 100])
        item.ModalityLUTType = "US"
        dataset.ModalityLUTSequence = [item]
        dataset.PixelRepresentation = 0
        dataset.PixelData = np.resize(np.arange(16), (36, 40)).astype("<u2").tobytes()
        del dataset.RescaleSlope, dataset.RescaleIntercept

    edit(files[0], table)
    np.testing.assert_array_equal(read(files[0]).array[:, :, 0], (np.resize(np.arange(16), (36, 40)) ** 2 * 100).T)


def test_background_of_a_straightened_stack_is_the_padding_value(
    files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    for k, path in enumerate(files):
        edit(path, lambda d, k=k: setattr(d, "ImagePositionPatient", [-10, 20 + 2 * k, 30 + 2 * k]))
        edit(path, lambda d: d.add_new("PixelPaddingValue", "SS", -1000))
    edit(files[0], lambda d: setattr(d, "PixelData", np.full((36, 40), -1000, "<i2").tobytes()))
    with caplog.at_level(logging.WARNING):
        volume = read(files[0].parent)
    assert "tilted by 45 degrees" in caplog.text
    # The last row of the first slice lies where the last slice does not reach.
    i, j, k = np.rint(volume.grid.to_voxel((volume.source.frames[0].plane @ [0, 35, 0, 1])[:3])).astype(int)
    assert volume.array[i, j, k + 5] == -1000


def test_decoders_import_nothing_from_the_working_directory(
    scan: Volume, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit", encoding="utf-8")
    for path in files:
        edit(path, lambda d: d.compress(RLELossless))
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(read(files[0].parent).array, scan.array)


# ------------------------------------------------------------------------------- forms that the first decoder refuses


def embed(path: Path, syntax: str, streams: list[bytes], **attributes: Any) -> None:
    """Put compressed streams into a file unchanged."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate(streams)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


ONE_FILE = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.usefixtures("one_decoder")
@ONE_FILE
@given(
    frames=st.lists(arrays(np.int64, (3, 4), elements=st.integers(0, 4095)), min_size=1, max_size=2),
    signed=st.booleans(),
)
def test_jpeg_of_12_bits_is_decoded(files: list[Path], frames: list[Any], signed: bool) -> None:
    size = {"Rows": 24, "Columns": 32, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": int(signed)}
    shift = {"RescaleSlope": 1, "RescaleIntercept": 5, "NumberOfFrames": len(frames)}
    embed(files[0], JPEGExtended12Bit, [jpeg_of_blocks(frame) for frame in frames], **size, **shift)
    expected = np.array(frames)
    if signed:
        expected = np.where(expected > 2047, expected - 4096, expected)
    for frame, values in zip(expected, np.moveaxis(read(files[0]).array, 2, 0), strict=True):
        np.testing.assert_array_equal(values.T, np.kron(frame + 5, np.ones((8, 8))))


@pytest.mark.usefixtures("one_decoder")
@ONE_FILE
@given(values=arrays(np.uint16, (36, 40), elements=st.integers(0, 4095)), padding=st.integers(1, 9))
def test_padding_before_the_end_of_jpeg_ls_is_read(files: list[Path], values: Any, padding: int) -> None:
    dataset = pydicom.dcmread(files[0])
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.compress(JPEGLSLossless, values)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    head, end = stream.rstrip(b"\0")[:-2], stream.rstrip(b"\0")[-2:]
    assert end == b"\xff\xd9"
    dataset.PixelData = encapsulate([head + bytes(padding) + end])
    dataset.save_as(files[0])
    np.testing.assert_array_equal(read(files[0]).array[:, :, 0], values.T)


@pytest.mark.usefixtures("one_decoder")
@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_no_decoder_takes_a_stream_that_is_cut(files: list[Path], syntax: str) -> None:
    dataset = pydicom.dcmread(files[0])
    dataset.compress(syntax)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    for length in np.linspace(2, len(stream) - 3, 5).astype(int):
        embed(files[0], syntax, [stream[:length]])
        with pytest.raises(
            InputError, match=r"pyjpegls: .*gdcm: .*copy it again|pylibjpeg: .*gdcm: .*copy it again"
        ) as told:
            read(files[0])
        assert "convert" not in str(told.value)


def test_a_crash_of_the_first_decoder_leaves_it_to_the_second(
    scan: Volume, files: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in files:
        edit(path, lambda d: d.compress(JPEGLSLossless))
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, jpeg_ls\njpeg_ls.decode_pixel_data = lambda *a, **k: os.abort()\n"
    )
    monkeypatch.syspath_prepend(str(site))
    np.testing.assert_array_equal(read(files[0].parent).array, scan.array)


@pytest.mark.usefixtures("one_decoder")
def test_advice_fits_the_reason(files: list[Path]) -> None:
    def told() -> str:
        with pytest.raises(InputError, match="the pixels cannot be decoded") as error:
            read(files[0])
        return str(error.value)

    # Sound streams with more values than their header says; no decoder reads the rest.
    blocks = [[4095, 0, 4095, 0, 4095]] * 5
    embed(files[0], JPEGExtended12Bit, [jpeg_of_blocks(blocks)], Rows=40, Columns=40, BitsStored=9, HighBit=8)
    assert "more than the 9 bits" in told()
    assert "convert it by dcmdjpeg or gdcmconv --raw; if that fails too, the file is damaged" in told()
    # Pixels that are not all there, compressed or not.
    embed(files[0], JPEGExtended12Bit, [jpeg_of_blocks(blocks)[:-2]], BitsStored=12, HighBit=11)
    assert told().endswith("the file is cut off or damaged, copy it again")
    embed(files[0], JPEGExtended12Bit, [jpeg_of_blocks(blocks)], NumberOfFrames=2)
    assert told().endswith("the file is cut off or damaged, copy it again")


def test_jpeg_that_overshoots_is_clipped(files: list[Path]) -> None:
    """Lossy compression goes beyond the highest value beside an edge."""
    size = {"Rows": 40, "Columns": 40, "BitsStored": 11, "HighBit": 10, "PixelRepresentation": 0}
    embed(files[0], JPEGExtended12Bit, [jpeg_of_blocks([[2060, 0, 2047, 0, 7]] * 5)], **size, RescaleIntercept=0)
    assert read(files[0]).array[::8, 0, 0].tolist() == [2047, 0, 2047, 0, 7]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux bounds a process's memory")
def test_a_decoder_that_takes_memory_without_end_is_stopped(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    edit(files[0], lambda d: d.compress(JPEGLSLossless))
    site = tmp_path / "site"
    site.mkdir()
    greedy = "import pydicom.pixels as p\np.get_decoder = lambda s: bytearray(1 << 32)\n"
    (site / "sitecustomize.py").write_text(greedy)
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(InputError, match=r"cannot be decoded \(pyjpegls: MemoryError; .*gdcm: MemoryError\)"):
        read(files[0])


# ----------------------------------------------------------------------------------------- tables of stored values


def with_table(path: Path, *, data: Any = None, **values: Any) -> None:
    """Give a file a ModalityLUTSequence of one item."""
    item = pydicom.Dataset()
    for keyword in ("LUTDescriptor", "LUTExplanation", "ModalityLUTType"):
        item.add_new(keyword, {"LUTDescriptor": "US"}.get(keyword, "LO"), values.get(keyword))
    item.add_new("LUTData", "US", data)
    edit(path, lambda d: setattr(d, "ModalityLUTSequence", [item]))


def test_a_modality_table_without_values_is_none(scan: Volume, files: list[Path]) -> None:
    for path in files:
        with_table(path)
    np.testing.assert_array_equal(read(files[0].parent).array, scan.array)
    edit(files[0], lambda d: setattr(d, "ModalityLUTSequence", []))
    np.testing.assert_array_equal(read(files[0].parent).array, scan.array)


@pytest.mark.parametrize(
    "values", [{"data": [1, 2, 3]}, {"LUTDescriptor": [3, 0, 16]}, {"LUTDescriptor": [3, 0], "data": [1, 2, 3]}]
)
def test_half_a_modality_table_is_damage(files: list[Path], values: dict[str, Any]) -> None:
    with_table(files[0], **values)
    with pytest.raises(InputError, match=r"ModalityLUTSequence lacks its LUTData or the three numbers"):
        read(files[0])

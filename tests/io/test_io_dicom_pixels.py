from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from volseg.errors import InputError, MissingPackageError
from volseg.geometry import Grid
from volseg.io import read
from volseg.io.dicom_write import write_dicom_series
from volseg.volume import Volume


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
        with pytest.raises(InputError, match=r"0001.dcm: the pixels cannot be decoded \(the decoder crashed\)"):
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

"""NIfTI files made by nibabel and then spoilt byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import nibabel as nib
import numpy as np

AFFINE = np.array([[-2, 0, 0, 30], [0, 1.5, 0, -20], [0, 0, 3, 11], [0, 0, 0, 1.0]])
VALUES = np.arange(5 * 4 * 3, dtype=np.int16).reshape(5, 4, 3)


def nifti_bytes(array=VALUES, affine=AFFINE, kind=nib.Nifti1Image, change=None) -> bytearray:
    """Bytes of an image with sform and qform `affine`; `change` gets the header."""
    image = kind(array, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    if change:
        change(image.header)
    return bytearray(image.to_bytes())


def saved(folder: Path, content: bytes, name="scan.nii") -> Path:
    """Write bytes to a file and return its path."""
    (folder / name).write_bytes(content)
    return folder / name


def patched(offset: int, layout: str, *values) -> bytearray:
    """Bytes of the image with some of the header's replaced."""
    content = nifti_bytes()
    struct.pack_into("<" + layout, content, offset, *values)
    return content

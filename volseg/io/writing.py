"""The doors out: which writer a scan or label map goes to."""

from __future__ import annotations

from pathlib import Path

from volseg.errors import UsageError
from volseg.io.names import has_suffix
from volseg.labelmap import LabelMap
from volseg.volume import Volume

# What a ``.dcm`` file of labels, and a folder, may be.
LABEL_FORMS = ("seg", "labelmap", "rtstruct")


def write(
    thing: Volume | LabelMap, path: str | Path, *, image: Volume | None = None, form: str | None = None
) -> list[Path]:
    """Write a scan or label map.

    Parameters
    ----------
    thing : Volume or LabelMap
        What to write.
    path : path
        ``.nii``, ``.nii.gz``: on its own grid, the orientation as it is. A scan also ``.nrrd`` or ``.mha``, or a folder
        for a DICOM series; a label map also ``.seg.nrrd``, and ``.dcm`` with `image`. Missing folders are made.
    image : Volume, optional
        The scan that was segmented, read from DICOM: a DICOM object lies on the slices of that scan, as its files place
        them, and refers to them.
    form : {"seg", "labelmap", "rtstruct"}, optional
        What a ``.dcm`` file of labels is: a binary segmentation (the default), a label map segmentation (small, but
        only recent software reads it), or a structure set.

    Returns
    -------
    list of Path
        The files written. A label map as NIfTI has its names and colours in ``<stem>.tsv`` beside it, and in a BIDS
        file (``..._dseg.nii.gz``) what they mean in ``<stem>.json``.

    Raises
    ------
    UsageError
        Another suffix or form, or a DICOM object without its scan.
    OutputError
        A file cannot be written; nothing is left half-written.
    """
    path = Path(path)
    if form is not None and not (isinstance(thing, LabelMap) and has_suffix(path, (".dcm",))):
        raise UsageError(f"form is {form!r}, but only a .dcm file of labels has one; got {path}")
    if isinstance(thing, LabelMap):
        return _write_labels(thing, path, image, form or "seg")
    return _write_scan(thing, path)


def _write_labels(labelmap: LabelMap, path: Path, image: Volume | None, form: str) -> list[Path]:
    if has_suffix(path, (".dcm",)):
        _write_dicom(labelmap, path, image, form)
        return [path]
    if has_suffix(path, (".seg.nrrd",)):
        from volseg.io.itk import write_seg_nrrd

        write_seg_nrrd(labelmap, path)
        return [path]
    if not has_suffix(path, (".nii", ".nii.gz")):
        raise _unknown(path, ".nii, .nii.gz, .seg.nrrd or .dcm")
    from volseg.io.bids import is_dseg, write_dseg_json
    from volseg.io.labels import sidecar_path, write_label_table
    from volseg.io.nifti import write_nifti
    from volseg.io.voxels import smallest_integer

    dtype = smallest_integer(int(labelmap.array.max()))
    write_nifti(labelmap.array.astype(dtype, copy=False), labelmap.grid, path)
    write_label_table(labelmap.labels, sidecar_path(path))
    written = [path, sidecar_path(path)]
    return [*written, write_dseg_json(labelmap, path)] if is_dseg(path) else written


def _write_dicom(labelmap: LabelMap, path: Path, image: Volume | None, form: str) -> None:
    from volseg.io.dicom_source import DicomSource

    if form not in LABEL_FORMS:
        raise UsageError(f"form is {form!r}; expected one of {', '.join(LABEL_FORMS)}")
    if image is None or not isinstance(image.source, DicomSource):
        raise UsageError(f"{path}: a DICOM object of labels refers to the scan's DICOM files; give that scan (image)")
    if form == "rtstruct":
        from volseg.io.rtstruct import write_rtstruct

        write_rtstruct(labelmap, path, source=image.source)
    else:
        from volseg.io.dicom_seg import write_dicom_seg

        write_dicom_seg(labelmap, path, source=image.source, kind="labelmap" if form == "labelmap" else "binary")


def _write_scan(volume: Volume, path: Path) -> list[Path]:
    if has_suffix(path, (".nii", ".nii.gz")):
        from volseg.io.nifti import write_nifti

        write_nifti(volume.array, volume.grid, path)
        return [path]
    if has_suffix(path, (".nrrd", ".mha")) and not has_suffix(path, (".seg.nrrd",)):
        from volseg.io.itk import write_itk

        write_itk(volume, path)
        return [path]
    if path.is_dir() or not path.suffix:
        from volseg.io.dicom_write import write_dicom_series

        return write_dicom_series(volume, path, description=volume.name or path.name)
    raise _unknown(path, ".nii, .nii.gz, .nrrd, .mha, or a folder for a DICOM series")


def _unknown(path: Path, known: str) -> UsageError:
    return UsageError(f"{path}: cannot be written as {''.join(path.suffixes) or 'a file without suffix'}; use {known}")

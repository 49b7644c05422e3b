"""Writing of scans and label maps: the choice of the writer."""

from __future__ import annotations

import logging
from pathlib import Path

from volseg.core.labelmap import LabelMap, label_extent
from volseg.core.volume import Volume
from volseg.core.voxels import smallest_integer
from volseg.errors import OutputError, UsageError
from volseg.files.names import LABEL_SUFFIXES, SCAN_SUFFIXES, SEG_NRRD_SUFFIXES, has_suffix
from volseg.io.catalogue import Source
from volseg.io.images import write_image
from volseg.io.labels.bids import is_dseg, write_dseg_json
from volseg.io.labels.table import sidecar_path, write_label_table
from volseg.io.scans import read

_LOG = logging.getLogger(__name__)

# The kinds of a ``.dcm`` file of labels, and of a folder.
LABEL_FORMS = ("seg", "labelmap", "rtstruct")


def write(
    thing: Volume | LabelMap,
    path: str | Path,
    *,
    image: Source | Volume | None = None,
    form: str | None = None,
) -> list[Path]:
    """Write a scan or label map.

    Parameters
    ----------
    thing : Volume or LabelMap
        What to write.
    path : path
        ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha`` or ``.mgz``: grid and orientation are kept. For a scan also a folder
        for a DICOM series, with patient, study and frame of reference of the DICOM scan that it came from, else without
        a patient. For a label map also ``.seg.nrrd``, and ``.dcm`` with `image`. Missing folders are made.
    image : path, dict of str to bytes, or Volume, optional
        The DICOM scan that was segmented. A DICOM object lies on its stored slices and refers to them. Labels outside
        are left out with a warning.
    form : {"seg", "labelmap", "rtstruct"}, optional
        The kind of a ``.dcm`` file of labels: a binary segmentation (the default), a label map segmentation (small, but
        only recent software reads it), or a structure set.

    Returns
    -------
    list of Path
        The files written. A label map in an image format has its names and colours in ``<stem>.tsv`` beside it; a BIDS
        file (``..._dseg.nii.gz``) also has a description of the columns in ``<stem>.json``.

    Raises
    ------
    UsageError
        Unknown suffix or form, or a DICOM object without its scan.
    OutputError
        All labels lie outside the image, or a file cannot be written; nothing is left half-written.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> labels = make_ct_phantom(seed=1).labels
    >>> [path.name for path in volseg.write(labels, "labels.nii.gz")]
    ['labels.nii.gz', 'labels.tsv']
    """
    path = Path(path)
    if not isinstance(thing, Volume | LabelMap):
        raise UsageError(f"{path}: got {type(thing).__name__}; expected a Volume or LabelMap: an array and its grid")
    if form is not None and not (isinstance(thing, LabelMap) and has_suffix(path, (".dcm",))):
        raise UsageError(f"form is {form!r}, but only a .dcm file of labels has a form; got {path}")
    if isinstance(thing, LabelMap):
        return _write_labels(thing, path, image, form or "seg")
    return _write_scan(thing, path)


def _write_labels(labelmap: LabelMap, path: Path, image: Source | Volume | None, form: str) -> list[Path]:
    if has_suffix(path, (".dcm",)):
        _write_dicom(labelmap, path, image, form)
        return [path]
    if has_suffix(path, SEG_NRRD_SUFFIXES):
        from volseg.io.images.itk import write_seg_nrrd

        write_seg_nrrd(labelmap, path)
        return [path]
    if not has_suffix(path, SCAN_SUFFIXES):
        raise _unknown(path, ", ".join([*SCAN_SUFFIXES, *LABEL_SUFFIXES]))
    dtype = smallest_integer(int(labelmap.array.max()))
    write_image(Volume(labelmap.array.astype(dtype, copy=False), labelmap.grid), path)
    write_label_table(labelmap.labels, sidecar_path(path))
    written = [path, sidecar_path(path)]
    return [*written, write_dseg_json(labelmap, path)] if is_dseg(path) else written


def _write_dicom(labelmap: LabelMap, path: Path, image: Source | Volume | None, form: str) -> None:
    from volseg.io.dicom.source import DicomSource

    if form not in LABEL_FORMS:
        raise UsageError(f"form is {form!r}; expected one of {', '.join(LABEL_FORMS)}")
    image = image if image is None or isinstance(image, Volume) else read(image)
    if image is None or not isinstance(image.source, DicomSource):
        raise UsageError(f"{path}: a DICOM object of labels refers to the scan's DICOM files; give that scan (image)")
    _check_inside(labelmap, image, path)
    if form == "rtstruct":
        from volseg.io.dicom.rtstruct_writing import write_rtstruct

        write_rtstruct(labelmap, path, source=image.source)
    else:
        from volseg.io.dicom.seg_writing import write_dicom_seg

        write_dicom_seg(labelmap, path, source=image.source, kind="labelmap" if form == "labelmap" else "binary")


def _check_inside(labelmap: LabelMap, image: Volume, path: Path) -> None:
    """Warn of labels outside the image, which are lost; refuse labels that are all outside."""
    if labelmap.grid.is_close(image.grid):
        return
    _, outside = label_extent([labelmap], image.grid)
    if not outside:
        return
    what = f"{100 * outside:.3g} % of the labelled voxels lie outside the image"
    if outside == 1:
        raise OutputError(f"{path}: {what}; give the scan that the labels were made on")
    _LOG.warning("%s: %s and are left out", path, what)


def _write_scan(volume: Volume, path: Path) -> list[Path]:
    if has_suffix(path, SCAN_SUFFIXES) and not has_suffix(path, SEG_NRRD_SUFFIXES):
        write_image(volume, path)
        return [path]
    if path.is_dir() or not path.suffix:
        from volseg.io.dicom.texts import fit_text
        from volseg.io.dicom.writing import write_dicom_series

        return write_dicom_series(volume, path, description=fit_text(volume.name or path.name))
    raise _unknown(path, f"{', '.join(SCAN_SUFFIXES)}, or a folder for a DICOM series")


def _unknown(path: Path, known: str) -> UsageError:
    return UsageError(f"{path}: cannot be written as {''.join(path.suffixes) or 'a file without suffix'}; use {known}")

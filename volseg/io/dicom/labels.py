"""Label maps from DICOM: segmentations and structure sets, alone or in a folder with their scan."""

from __future__ import annotations

from pathlib import Path

from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import LabelMap
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, InputError
from volseg.io.dicom.damage import describe_damage
from volseg.io.dicom.objects import is_structure_set, label_objects, read_label_object, series_of
from volseg.io.dicom.reading import read_stack
from volseg.io.dicom.series import Listing, scan_dicom
from volseg.io.dicom.storage import DicomFile


def read_dicom_labels(
    path: Path, *, image: Volume | None = None, choice: LabelChoice | None = None
) -> tuple[LabelMap, ...]:
    """Read the one segmentation or structure set of a DICOM file, folder or zip archive.

    Parameters
    ----------
    path : Path
        Where it is.
    image : Volume, optional
        The scan that was segmented; a structure set without it needs its series in the same folder.
    choice : LabelChoice, optional
        Which structures are wanted; all, if it is not given.

    Returns
    -------
    tuple of LabelMap
        Layers of labels that do not overlap.

    Raises
    ------
    AmbiguousError
        Several segmentations are there.
    InputError
        None is there, it is damaged, its scan is missing, or it lacks what is wanted.
    """
    listing = scan_dicom(path)
    found = label_objects(listing)
    if not found:
        reason = f" ({describe_damage(listing.damaged)})" if listing.damaged else ""
        raise InputError(f"{path}: holds no DICOM segmentation or structure set{reason}; this is a scan, not labels")
    if len(found) > 1:
        listed = ", ".join(str(other.file) for other in found[:10])
        raise AmbiguousError(f"{path}: holds {len(found)} segmentations; give one of them: {listed}")
    file = found[0].file
    if not is_structure_set(found[0]):
        from volseg.io.dicom.seg_reading import read_dicom_seg

        return read_dicom_seg(file, image=image, choice=choice)
    from volseg.io.dicom.rtstruct_reading import read_rtstruct

    return read_rtstruct(file, image=image or _scan_of(file, listing), choice=choice)


def _scan_of(file: DicomFile, listing: Listing) -> Volume:
    """Find the series that a structure set was drawn on, beside it."""
    beside = listing if listing.path.is_dir() or file.member else scan_dicom(file.path.parent)
    series = series_of(read_label_object(file), beside.series)
    if len(series) != 1:
        what = f"{len(series)} volumes of its series lie" if series else "its scan does not lie"
        raise InputError(
            f"{file}: a structure set is contours on the slices of a scan, and {what} beside it; give its "
            "scan as image (--image)"
        )
    return read_stack(series[0], beside.path)

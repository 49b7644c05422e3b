"""Label maps from DICOM: segmentations and structure sets, alone or in a folder with their scan."""

from __future__ import annotations

from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import LabelMap
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, InputError
from volseg.io.dicom.damage import describe_damage
from volseg.io.dicom.header import LabelObject
from volseg.io.dicom.listing import Listing, scan_dicom
from volseg.io.dicom.objects import series_of
from volseg.io.dicom.reading import read_stack
from volseg.io.dicom.rtstruct_file import StructureSet

_NAMED = 10


def read_dicom_labels(
    listing: Listing,
    *,
    image: Volume | None = None,
    choice: LabelChoice | None = None,
    structures: StructureSet | None = None,
) -> tuple[LabelMap, ...]:
    """Read the one segmentation or structure set of a DICOM file, folder or zip archive.

    Parameters
    ----------
    listing : Listing
        The DICOM files.
    image : Volume, optional
        The scan that was segmented; a structure set without it needs its series in the same folder.
    choice : LabelChoice, optional
        The wanted structures; the default is all.
    structures : StructureSet, optional
        The content of the structure set, if it has been read already.

    Returns
    -------
    tuple of LabelMap
        Layers of labels that do not overlap.

    Raises
    ------
    AmbiguousError
        There are several segmentations.
    InputError
        There is no segmentation, it is damaged, its scan is missing, or it lacks the wanted structures.
    """
    found = listing.labels
    if not found:
        reason = f" ({describe_damage(listing.damaged)})" if listing.damaged else ""
        raise InputError(
            f"{listing.path}: holds no DICOM segmentation or structure set{reason}; it is a scan, not labels"
        )
    if len(found) > 1:
        listed = ", ".join(str(other.file) for other in found[:_NAMED])
        raise AmbiguousError(f"{listing.path}: holds {len(found)} segmentations; give one of them: {listed}")
    labels = found[0]
    if not labels.is_contours:
        from volseg.io.dicom.seg_reading import read_dicom_seg

        return read_dicom_seg(labels.file, image=image, choice=choice)
    from volseg.io.dicom.rtstruct_reading import read_rtstruct

    scan = image or _scan_of(labels, listing)
    return read_rtstruct(labels.file, image=scan, choice=choice, structures=structures)


def _scan_of(labels: LabelObject, listing: Listing) -> Volume:
    """Find the series that a structure set was drawn on, beside it."""
    file = labels.file
    is_lone_file = listing.path.is_file() and not file.member
    beside = scan_dicom(file.path.parent, known=listing.contents) if is_lone_file else listing
    series = series_of(labels, beside.series)
    if len(series) != 1:
        what = f"{len(series)} volumes of its series lie" if series else "its scan does not lie"
        raise InputError(
            f"{file}: a structure set is contours on the slices of a scan, and {what} beside it; give its "
            "scan as image (--image)"
        )
    return read_stack(series[0], beside.path)

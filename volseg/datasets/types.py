"""What a training set is: its cases, labels and channels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.datasets.packed import PackedLabels
from volseg.errors import DatasetError
from volseg.io import read_channels, read_labels
from volseg.io.scan_files import file_state

Splits = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


@dataclass(frozen=True)
class Patient:
    """Whom a scan shows.

    Parameters
    ----------
    name : str
        The same for all scans of one patient.
    told_by : str
        What the name was found by, for messages: ``sub-``, ``DICOM PatientID``.
    """

    name: str
    told_by: str


@dataclass(frozen=True)
class Case:
    """One scan of a training set.

    Parameters
    ----------
    name : str
        Unique in its dataset.
    images : tuple of Path
        One a channel, in the order of `Dataset.channel_names`; or one 4D NIfTI file that holds them all.
    label : Path, optional
        Its label map, or folder of masks.
    masks : tuple of Label
        Where it is a folder, which values its labels have; masks are matched by name.
    packed : PackedLabels, optional
        The label map as it was decoded; see `pack_reference`.
    patient : Patient, optional
        None if nothing tells that the dataset has other scans of the same patient.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None = None
    masks: tuple[Label, ...] = ()
    packed: PackedLabels | None = field(default=None, compare=False, repr=False)
    patient: Patient | None = None


@dataclass(frozen=True)
class Dataset:
    """A training set. Nothing says yet that its files fit together: `check_dataset` does.

    Parameters
    ----------
    name : str
        From ``dataset.json``, or of the folder or CSV.
    cases : tuple of Case
        Sorted by name.
    labels : tuple of Label
        Sorted by value.
    channel_names : tuple of str
        As in ``dataset.json``, else ``image`` or ``image_0``, ``image_1``, ...
    modalities : tuple of str or None
        For each channel DICOM's word (``CT``, ``MR``, ``PT``), where its name says so.
    splits : tuple of (training names, validation names), optional
        The folds of ``splits_final.json``.
    root : Path
        The folder of the dataset.
    """

    name: str
    cases: tuple[Case, ...]
    labels: tuple[Label, ...]
    channel_names: tuple[str, ...]
    modalities: tuple[str | None, ...]
    splits: Splits | None
    root: Path


def read_images(case: Case) -> list[Volume]:
    """Read the channels of a case in order, also where one 4D file holds them.

    Parameters
    ----------
    case : Case
    """
    return read_channels(case.images)


def read_reference(case: Case) -> LabelMap:
    """Read the label map of a case, or its folder of masks with the values of the dataset.

    Parameters
    ----------
    case : Case
        If it has its label map packed and the files are as they were, nothing is decoded.

    Raises
    ------
    DatasetError
        It has none.
    """
    label, state = _label_of(case)
    if case.packed is not None and case.packed.state == state:
        return case.packed.unpack()
    return read_labels(label, labels=case.masks or None)


def pack_reference(case: Case) -> tuple[Case, LabelMap]:
    """Read the label map of a case and pack it, so that `read_reference` need not decode it again.

    Parameters
    ----------
    case : Case

    Returns
    -------
    case : Case
        With its label map packed.
    labels : LabelMap
    """
    _, state = _label_of(case)  # before the files are read: if they change meanwhile, they are read again
    labels = read_reference(case)
    if case.packed is None or case.packed.state != state:
        case = replace(case, packed=PackedLabels.pack(labels, state))
    return case, labels


def _label_of(case: Case) -> tuple[Path, str]:
    """Return where the label map of a case is, and the state of its files."""
    if case.label is None:
        raise DatasetError(f"case {case.name} has no label map; training needs one for every case")
    return case.label, file_state([case.label])

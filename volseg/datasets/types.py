"""What a training set is: its cases, labels and channels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from volseg.core.labelmap import Label
from volseg.core.volume import Volume
from volseg.datasets.packed import PackedLabels
from volseg.io import read_channels

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
        Its label map: an image file, or a file or folder with DICOM objects of labels; or the folder of its masks.
    masks : tuple of (str, Path)
        Instead of one label map: masks, each with the name of its structure.
    structures : tuple of (str, Label)
        Which label of the dataset each name of a structure means, for masks and label maps that are matched by name.
    packed : PackedLabels, optional
        The label map as it was decoded; see `volseg.datasets.references`.
    patient : Patient, optional
        None if nothing tells that the dataset has other scans of the same patient.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None = None
    masks: tuple[tuple[str, Path], ...] = ()
    structures: tuple[tuple[str, Label], ...] = ()
    packed: PackedLabels | None = field(default=None, compare=False, repr=False)
    patient: Patient | None = None

    @property
    def label_files(self) -> tuple[Path, ...]:
        """Its masks, or its label map; empty if it has neither."""
        if self.masks:
            return tuple(file for _, file in self.masks)
        return () if self.label is None else (self.label,)


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

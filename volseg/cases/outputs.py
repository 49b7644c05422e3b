"""The settings that ask for the outputs of a case, the names of its files, and how a case ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.cases.inputs import CaseInput
from volseg.config import CleanupConfig
from volseg.errors import VolsegError
from volseg.io import LABEL_FORMS

if TYPE_CHECKING:
    from volseg.prediction.doubt import Doubt

# Those of labels, and a segmentation that holds probabilities.
DICOM_FORMS = (*LABEL_FORMS, "fractional")

LABELS, TABLE, PROBABILITIES, MESHES = "labels.nii.gz", "labels.tsv", "probabilities.nii.gz", "meshes"
PAGE, DOUBT = "scene.html", "doubt.nii.gz"


@dataclass(frozen=True)
class OutputSettings:
    """The outputs of each case, and how they are made.

    Parameters
    ----------
    probabilities : bool
        Also ``probabilities.nii.gz``, and surfaces from them; see `volseg.surface.sharpen`.
    doubt : bool
        Also ``doubt.nii.gz``, how unsure each voxel is; see `volseg.prediction.doubt.entropy`.
    mesh_formats : tuple of str
        Also a surface of each label in these formats.
    mesh_space : {"lps", "ras"}
        Coordinate system of the surfaces; see `volseg.io.mesh.write_meshes`.
    html : bool
        Also ``scene.html``, which shows scan, labels and surfaces in a browser; see `volseg.webpage.page`.
    dicom_forms : tuple of {"seg", "labelmap", "rtstruct", "fractional"}
        Also these DICOM objects, on the stored slices of the DICOM scan.
    only : tuple of str
        Labels of the model by name, value or pattern (`volseg.core.label_choice`); in every output the others are
        background. Empty: every label.
    cleanup : dict of str to CleanupConfig
        By label name, ``*`` for every label; it overrides the model's own settings.
    overwrite : bool
        Redo cases that are finished.
    refresh : bool
        Redo cases that were made in another way, rather than refuse them.
    strict : bool
        Refuse scans that would have to be repaired; see `volseg.io.read`.
    full_paths : bool
        Write the paths of scan and model in full; otherwise from the working folder on, or their names alone.
    """

    probabilities: bool = False
    doubt: bool = False
    mesh_formats: tuple[str, ...] = ()
    mesh_space: str = "lps"
    html: bool = False
    dicom_forms: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    cleanup: dict[str, CleanupConfig] = field(default_factory=dict)
    overwrite: bool = False
    refresh: bool = False
    strict: bool = False
    full_paths: bool = False


@dataclass(frozen=True)
class CaseResult:
    """How one case ended.

    Parameters
    ----------
    case : CaseInput
        If its DICOM files give its name, that is the name of its output folder.
    files : tuple of Path
        Every output, the label map first; empty if the case failed.
    written : tuple of Path
        The outputs that were made now; empty if the case was finished.
    error : VolsegError, optional
        Why it failed.
    doubt : Doubt, optional
        How far its labels are in doubt, if it was predicted now.
    """

    case: CaseInput
    files: tuple[Path, ...] = ()
    written: tuple[Path, ...] = ()
    error: VolsegError | None = None
    doubt: Doubt | None = None

    @property
    def skipped(self) -> bool:
        """Whether there was nothing to do."""
        return not self.written and self.error is None


def dicom_name(form: str) -> str:
    """Return the file name of a DICOM object of labels.

    Parameters
    ----------
    form : str
        One of `DICOM_FORMS`.
    """
    return f"labels_{form}.dcm"

"""The settings that ask for the outputs of a case, the names of its files, and how a case ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from volseg.cases.inputs import CaseInput
from volseg.config import CleanupConfig
from volseg.errors import VolsegError
from volseg.io import LABEL_FORMS

# A segmentation also of the probabilities.
DICOM_FORMS = (*LABEL_FORMS, "fractional")

LABELS, TABLE, PROBABILITIES, MESHES = "labels.nii.gz", "labels.tsv", "probabilities.nii.gz", "meshes"


@dataclass(frozen=True)
class OutputSettings:
    """What to write for each case.

    Parameters
    ----------
    probabilities : bool
        Also ``probabilities.nii.gz``, and surfaces from them; see `volseg.surface.sharpen`.
    mesh_formats : tuple of str
        Also a surface of each label in these formats.
    mesh_space : {"lps", "ras"}
        Coordinate system of the surfaces; see `volseg.io.mesh.write_meshes`.
    dicom_forms : tuple of {"seg", "labelmap", "rtstruct", "fractional"}
        Also these DICOM objects, on the slices of the DICOM scan as they are stored.
    only : tuple of str
        These labels of the model alone, by name, value or pattern (`volseg.core.label_choice`): in every output all
        else is background. None: all.
    cleanup : dict of str to CleanupConfig
        By label name, ``*`` for all; what is set in it goes over what the model was configured with.
    overwrite : bool
        Redo cases that are finished.
    refresh : bool
        Redo those that were made in another way, rather than refuse them.
    strict : bool
        Refuse scans that would have to be repaired; see `volseg.io.read`.
    full_paths : bool
        Write where scan and model lie in full; otherwise from the working folder, or their names alone.
    """

    probabilities: bool = False
    mesh_formats: tuple[str, ...] = ()
    mesh_space: str = "lps"
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
        Called as its output folder is, where its DICOM files say that.
    files : tuple of Path
        All outputs, the label map first; none if it failed.
    written : tuple of Path
        Those of them that were made now; none if it was finished.
    error : VolsegError, optional
        Why it failed.
    """

    case: CaseInput
    files: tuple[Path, ...] = ()
    written: tuple[Path, ...] = ()
    error: VolsegError | None = None

    @property
    def skipped(self) -> bool:
        """Whether there was nothing to do."""
        return not self.written and self.error is None


def dicom_name(form: str) -> str:
    """Return the file name of a DICOM object of labels."""
    return f"labels_{form}.dcm"

"""What a case can hold: the settings that ask for it, the names of its files, and how a case ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePath

from volseg.cases.inputs import CaseInput
from volseg.config import CleanupConfig
from volseg.errors import VolsegError
from volseg.io import LABEL_FORMS
from volseg.io.case_record import RECORD
from volseg.io.mesh import WRITTEN_SUFFIXES

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


def is_mesh(name: str) -> bool:
    """Whether the path of a file in a case's folder is that of a surface."""
    return PurePath(name).parts[0] == MESHES


def is_output(name: str) -> bool:
    """Whether a file in a case's folder has the name of an output, whoever made it."""
    if is_mesh(name):
        return PurePath(name).suffix in WRITTEN_SUFFIXES
    return name in (LABELS, TABLE, PROBABILITIES, RECORD, *map(dicom_name, DICOM_FORMS))

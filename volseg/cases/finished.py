"""What is left to do for a case: nothing, what is missing of its outputs, or all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from volseg.cases.case_folder import CaseFolder
from volseg.cases.outputs import LABELS, PROBABILITIES, TABLE, OutputSettings, dicom_name, is_mesh
from volseg.errors import InputError
from volseg.io.case_record import RECORD, CaseRecord
from volseg.io.scan_files import ScanFiles


@dataclass(frozen=True)
class Work:
    """What is to be made.

    Parameters
    ----------
    settings : OutputSettings
        What the case will hold: what is asked for and what it holds already.
    predict : bool
        Whether the network is needed; else the label map is there.
    meshes : bool
    forms : tuple of str
        Of DICOM objects.
    kept : frozenset of str
        Files that stay as they are.
    """

    settings: OutputSettings
    predict: bool
    meshes: bool
    forms: tuple[str, ...]
    kept: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.predict or self.meshes or bool(self.forms)


def find_work(folder: CaseFolder, scan: ScanFiles, wanted: OutputSettings, how: Mapping[str, Any]) -> Work:
    """Say what is left to do.

    A case that was made in another way is refused, unless it may be redone. One that lacks something, or has it as it
    was not written, gets it: surfaces and DICOM objects from its label map, all else by a new prediction.

    Parameters
    ----------
    folder : CaseFolder
    scan : ScanFiles
        As it is now.
    wanted : OutputSettings
    how : mapping
        What decides over the labels, as in ``made_by`` of ``run.json``.

    Raises
    ------
    InputError
        The case was made in another way, or from the scan as it was before.
    """
    record = folder.record
    if record is None or wanted.overwrite:
        return _all_of(wanted)
    if differing := _differing(record, scan, wanted, how):
        if wanted.refresh:
            return _all_of(wanted)
        raise InputError(
            f"{folder.path}: is there, but differs in {' and '.join(differing)}; add --overwrite or choose another "
            "output folder"
        )
    return _missing(record, record.whole_files(folder.place), wanted)


def _all_of(settings: OutputSettings) -> Work:
    return Work(settings, predict=True, meshes=bool(settings.mesh_formats), forms=settings.dicom_forms)


def _differing(record: CaseRecord, scan: ScanFiles, wanted: OutputSettings, how: Mapping[str, Any]) -> list[str]:
    # Surfaces were LPS before there was a choice.
    old = {"mesh_space": "lps", **record.made_by}
    names = [f"--{name}" if name in ("only", "strict") else name for name in how if old.get(name) != how[name]]
    if wanted.mesh_formats and old.get("mesh_formats") and old["mesh_space"] != wanted.mesh_space:
        names.append("--space")
    return names if scan.is_unchanged_since(record) else [*names, "scan files"]


def _missing(record: CaseRecord, whole: set[str], wanted: OutputSettings) -> Work:
    """Compare what is there, whole, with what is asked for now or was before."""
    old = record.made_by
    formats, forms = _names(old.get("mesh_formats")), _names(old.get("dicom_forms"))
    settings = replace(
        wanted,
        probabilities=wanted.probabilities or old.get("probabilities") is True,
        mesh_formats=tuple(dict.fromkeys([*formats, *wanted.mesh_formats])),
        mesh_space=wanted.mesh_space if wanted.mesh_formats else str(old.get("mesh_space", "lps")),
        dicom_forms=tuple(dict.fromkeys([*forms, *wanted.dicom_forms])),
    )
    broken = set(record.files) - whole - {RECORD}
    missing_forms = tuple(form for form in settings.dicom_forms if dicom_name(form) not in whole)
    meshes = settings.mesh_formats != formats or any(map(is_mesh, broken))
    needed = {LABELS, TABLE} | ({PROBABILITIES} if settings.probabilities else set())
    if not needed <= whole or "fractional" in missing_forms:
        return _all_of(settings)
    kept = frozenset(name for name in whole if not (meshes and is_mesh(name)))
    return Work(settings, predict=False, meshes=meshes, forms=missing_forms, kept=kept)


def _names(found: Any) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, list) else ()

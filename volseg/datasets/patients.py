"""Which scans are of one patient: told by a column, by names, or by DICOM headers.

A network scores too well on a scan if it has learnt from others of the same patient, so folds keep them together (see
`volseg.datasets.splits`). `find_patients` has the rules. They take only names that surely mean one patient, such as
``patient001_frame01``; ``hippocampus_001`` and ``case_0001`` number scans. A case that no rule knows is a patient of
its own. So are all cases, with a warning, where a rule finds one patient in the whole dataset: ``tg4510_tp3_10`` may
be the tenth mouse of the strain tg4510.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from volseg.datasets.types import Case, Dataset, Patient
from volseg.errors import VolsegError
from volseg.io import Catalogue, look

_LOG = logging.getLogger(__name__)

# The text by which a rule is told to the user, and a pattern whose first group is the patient. It is matched with the
# start of the case's name and of the folders and files of its image.
_NAMES = (
    # BIDS: sub-<letters and digits>, also after other words.
    ("sub-", re.compile(r"(?:.*_)?(sub-[A-Za-z0-9+]+)(?![A-Za-z0-9+-])")),
    # ACDC, CAMUS and many others. What stands before may tell sites apart, and belongs to the patient's name.
    (
        "names like patient001_frame01",
        re.compile(r"((?:.*[_\-. ])?(?:patient|pat|subject|subj)[_-]?\d+)(?![A-Za-z0-9])", re.IGNORECASE),
    ),
    # BraTS since 2023: the last three digits are the time point.
    ("names like BraTS-GLI-00005-100", re.compile(r"(BraTS-[A-Za-z]+(?:-[A-Za-z]+)?-\d{4,5})-\d{1,3}(?!\d)")),
    ("names like TCGA-02-0006", re.compile(r"(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})(?![A-Za-z0-9])")),
    ("names like LIDC-IDRI-0001", re.compile(r"(LIDC-IDRI-\d{4})(?!\d)")),
    ("names like OAS30001_MR_d0129", re.compile(r"(OAS(?:[12]_|[34])\d{4})(?!\d)")),
    ("names like ADNI_002_S_0295", re.compile(r"((?:ADNI_)?\d{3}_S_\d{4})(?!\d)")),
    # autoPET: a tracer, the digest of the patient, the study.
    ("names like psma_95b833d46f153cd2_2018-04-16", re.compile(r"((?:fdg|psma)_[0-9a-f]{10,16})_")),
    # A number, then the word for one of several scans. Two digits at least: T1_frame01 names no patient.
    (
        "names like 012_visit1",
        re.compile(
            r"(.*\d\d.*?)_(?:ses-[A-Za-z0-9]+|(?:session|visit|timepoint|tp|frame|phase)[_-]?\d+|ED|ES|left|right)"
            r"(?![A-Za-z0-9])"
        ),
    ),
)

# PatientIDs that anonymisation leaves, without signs and in lower case: they name nobody.
_NOBODY = re.compile(
    r"(?:anon|anonymous|anonymi[sz]ed|deidentified|redacted|removed|unknown|none|null|na|x*|0*)(?:patient|id)*"
)


def find_patients(cases: Sequence[Case], root: Path) -> list[Case]:
    """Return the cases with their patients: by the column of a table, else by names, else by PatientID of DICOM.

    Parameters
    ----------
    cases : sequence of Case
        Those of a table may have a patient already.
    root : Path
        The folder of the dataset; the names of folders above it tell nothing.
    """
    found = [case if case.patient else replace(case, patient=_patient_in(_names_of(case, root))) for case in cases]
    doubtful = None if any(case.patient for case in cases) else _only_patient(found)
    if doubtful:
        found = list(cases)
    ids = {}
    for place, case in enumerate(found):
        if case.patient is None and (number := _patient_id(case)):
            ids[place] = Patient(number, "DICOM PatientID")
    if len(ids) > 1 and len(set(ids.values())) == 1:  # as after anonymisation
        doubtful, ids = next(iter(ids.values())), {}
    for place, patient in ids.items():
        found[place] = replace(found[place], patient=patient)
    if doubtful and not ids:
        _LOG.warning(
            "%s: by %s all scans would be of one patient, %r. This tells nothing: each is taken for a patient of "
            "its own. If patients have several scans, scores of held-out cases will be too good: give patients in the "
            "column patient of a CSV file, or the folds in a splits_final.json",
            *(root, doubtful.told_by, doubtful.name),
        )
    return found


def _only_patient(cases: Sequence[Case]) -> Patient | None:
    """Return the patient whom all of several cases show; None if there is no such patient."""
    patients = {case.patient for case in cases}
    return patients.pop() if len(cases) > 1 and len(patients) == 1 else None


def _names_of(case: Case, root: Path) -> list[str]:
    """Return the name of a case, and those of its image and of the folders around it, the innermost first."""
    if not case.images:
        return [case.name]
    image = case.images[0]
    parts = image.relative_to(root).parts if image.is_relative_to(root) else (image.name,)
    return [case.name, *reversed(parts)]


def _patient_in(names: Sequence[str]) -> Patient | None:
    for told_by, pattern in _NAMES:
        for name in names:
            if found := pattern.match(name):
                return Patient(found[1], told_by)
    return None


def _patient_id(case: Case) -> str:
    """Return the PatientID of a case's first image if it is DICOM and names somebody; else an empty text."""
    if not case.images:
        return ""
    try:
        number = _read_patient_id(case.images[0])
    except VolsegError:  # `check_dataset` says what is wrong with the file
        return ""
    plain = re.sub(r"[\W_]", "", number).lower()
    return "" if _NOBODY.fullmatch(plain) else number


def _read_patient_id(path: Path) -> str:
    catalogue = look(path)
    if catalogue.image_format is not None:
        return ""
    # The first header of a folder is enough: its scan has one patient, and there may be hundreds of files.
    for file in catalogue.files_in(path) if path.is_dir() else ():
        header = Catalogue(file)
        if header.is_dicom and header.dicom.series:
            return header.dicom.series[0].patient_id.strip()
    ids = {series.patient_id.strip() for series in catalogue.dicom.series}
    return ids.pop() if len(ids) == 1 else ""


def group_by_patient(cases: Sequence[Case]) -> list[list[Case]]:
    """Return the cases of each patient, in the order of each patient's first case.

    Parameters
    ----------
    cases : sequence of Case
    """
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        key = ("case", case.name) if case.patient is None else ("patient", case.patient.name)
        groups.setdefault(key, []).append(case)
    return list(groups.values())


def describe_patients(cases: Sequence[Case]) -> str:
    """Say how many patients there are and by what they were told: ``22 patients of 60 scans, by sub-``.

    Parameters
    ----------
    cases : sequence of Case

    Returns
    -------
    str
        Empty where every case is a patient of its own.
    """
    groups, told_by = group_by_patient(cases), list[str]()
    for group in groups:
        for case in group if len(group) > 1 else ():
            if case.patient and case.patient.told_by not in told_by:
                told_by.append(case.patient.told_by)
    if not told_by:
        return ""
    count = "1 patient" if len(groups) == 1 else f"{len(groups)} patients"
    return f"{count} of {len(cases)} scans, by {' and '.join(told_by)}"


def forget_patients(dataset: Dataset) -> Dataset:
    """Return a dataset in which every case is a patient of its own, so that its folds are made over cases.

    Parameters
    ----------
    dataset : Dataset
    """
    return replace(dataset, cases=tuple(replace(case, patient=None) for case in dataset.cases))

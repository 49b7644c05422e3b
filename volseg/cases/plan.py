"""The work that is left for a case: nothing, some outputs or all outputs, or the reason for a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from volseg.cases import output_table
from volseg.cases.case_folder import CaseFolder, find_folder
from volseg.cases.inputs import CaseInput
from volseg.cases.job import Job
from volseg.cases.output_table import Needs, Output
from volseg.cases.outputs import OutputSettings
from volseg.errors import InputError, VolsegError
from volseg.io.case_record import RECORD, CaseRecord
from volseg.io.scan_files import ScanFiles, find_scan_files


@dataclass(frozen=True)
class Work:
    """The outputs that must be made.

    Parameters
    ----------
    settings : OutputSettings
        All outputs that the case will hold: those asked for and the existing ones.
    outputs : tuple of Output
        The missing outputs; empty if the case is finished.
    kept : frozenset of str
        Files that are kept unchanged.
    """

    settings: OutputSettings
    outputs: tuple[Output, ...]
    kept: frozenset[str] = frozenset()

    @property
    def needs(self) -> Needs:
        """The inputs that all these outputs need together."""
        return max((output.needs_for(self.settings) for output in self.outputs), default=Needs.LABELS)


@dataclass(frozen=True)
class CasePlan:
    """The work for a case, as planned now. A plan can be pickled and carried out by another process.

    Parameters
    ----------
    case : CaseInput
    scan : ScanFiles, optional
        None if its files cannot be found.
    folder : CaseFolder, optional
        The folder of its outputs; None if there is no place for them.
    work : Work, optional
        None if the case is refused.
    refusal : str
        The reason of a refusal.
    """

    case: CaseInput
    scan: ScanFiles | None = None
    folder: CaseFolder | None = None
    work: Work | None = None
    refusal: str = ""

    @property
    def state(self) -> Literal["finished", "refused", "to do"]:
        """``finished`` if nothing is left to do, ``refused`` if the case cannot be done, else ``to do``."""
        if self.work is None:
            return "refused"
        return "to do" if self.work.outputs else "finished"


def plan_case(job: Job, case: CaseInput) -> CasePlan:
    """Plan the work for a case, by headers and ``run.json`` alone; nothing is written.

    Parameters
    ----------
    job : Job
    case : CaseInput

    Returns
    -------
    CasePlan
        For `volseg.cases.case_run.run_case`, which checks again, as other processes may have worked on the case.
    """
    scan = folder = None
    try:
        scan = find_scan_files(case.paths, case.series)
        folder = find_folder(job.output, case, scan)
        return CasePlan(case, scan, folder, find_work(job, folder, scan))
    except VolsegError as error:
        return CasePlan(case, scan, folder, refusal=str(error))


def find_work(job: Job, folder: CaseFolder, scan: ScanFiles) -> Work:
    """Find the work that is left in the folder of a case.

    A case that was made with other settings is refused, unless it may be redone. A missing or changed output is made
    from the label map if that is enough; otherwise a new prediction makes every output.

    Parameters
    ----------
    job : Job
    folder : CaseFolder
    scan : ScanFiles
        The present files.

    Raises
    ------
    InputError
        The case was made with other settings or from other scan files, or an output cannot be made for this scan.
    """
    work = _work(job, folder, scan)
    for output in work.outputs:
        if output.check is not None:
            output.check(scan, None)
    return work


def _work(job: Job, folder: CaseFolder, scan: ScanFiles) -> Work:
    record, wanted = folder.record, job.settings
    if record is None or wanted.overwrite:
        return _all_of(wanted)
    before = _settings_of(record, wanted)
    if differing := _differing(job, record, scan, before):
        if wanted.refresh:
            return _all_of(wanted)
        raise InputError(
            f"{folder.path}: is there, but differs in {' and '.join(differing)}; add --overwrite or choose another "
            "output folder"
        )
    return _missing(record, record.whole_files(folder.place), before, _together(before, wanted))


def _all_of(settings: OutputSettings) -> Work:
    return Work(settings, tuple(output_table.asked_outputs(settings)))


def _differing(job: Job, record: CaseRecord, scan: ScanFiles, before: OutputSettings) -> list[str]:
    """Name the settings, models and files that differ between the existing and the wanted case."""
    found = []
    for name, value in job.how(by_weights=record.scan is None).items():
        if record.made_by.get(name) != value:
            found.append(f"--{name}" if name in ("only", "strict") else name)
    for output in output_table.asked_outputs(job.settings):
        manner = output.manner
        if manner is None or not output.value(before):
            continue
        if getattr(before, manner.setting) != getattr(job.settings, manner.setting):
            found.append(manner.option)
    if not scan.is_unchanged_since(record):
        found.append("scan files")
    return found


def _missing(record: CaseRecord, whole: set[str], before: OutputSettings, settings: OutputSettings) -> Work:
    """Compare the complete files with the outputs that are asked for now or were before."""
    broken = set(record.files) - whole - {RECORD}
    missing = []
    for output in output_table.asked_outputs(settings):
        is_new = output.value(settings) != output.value(before)
        if is_new or not output.is_whole(whole, broken):
            missing.append(output)
    work = Work(settings, tuple(missing))
    if work.needs >= Needs.PREDICTION:
        return _all_of(settings)
    kept = set(whole)
    for output in missing:
        for name in whole:
            if output.owns(name):
                kept.discard(name)
    return replace(work, kept=frozenset(kept))


def _settings_of(record: CaseRecord, wanted: OutputSettings) -> OutputSettings:
    """Return the output settings with which a case was made."""
    defaults = output_table.recorded_settings(type(wanted)())
    found = {name: _recorded(record.made_by, name, default) for name, default in defaults.items()}
    return replace(wanted, **found)


def _recorded(made_by: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return a setting from ``run.json``, or the default for files that are older than the setting."""
    value = made_by.get(name)
    if isinstance(default, tuple):
        return tuple(map(str, value)) if isinstance(value, list) else default
    return value if isinstance(value, type(default)) else default


def _together(before: OutputSettings, wanted: OutputSettings) -> OutputSettings:
    """Return settings for the existing and the wanted outputs of a case together."""
    changes: dict[str, Any] = {}
    for output in output_table.OUTPUTS:
        if output.setting is not None:
            old, new = getattr(before, output.setting), getattr(wanted, output.setting)
            changes[output.setting] = tuple(dict.fromkeys([*old, *new])) if isinstance(new, tuple) else old or new
        if output.manner is not None and not output.value(wanted):
            changes[output.manner.setting] = getattr(before, output.manner.setting)
    return replace(wanted, **changes)

"""Cases one after the other; the failure of one does not stop the others."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from volseg.cases.case_folder import tidy_output
from volseg.cases.case_run import run_case
from volseg.cases.failures import note_ending
from volseg.cases.inputs import CaseInput
from volseg.cases.job import Job, make_job
from volseg.cases.outputs import CaseResult, OutputSettings
from volseg.cases.plan import plan_case
from volseg.errors import VolsegError
from volseg.files.atomic import check_writable
from volseg.network.file import Model
from volseg.progress import Progress


def process_cases(
    model: Model,
    cases: Sequence[CaseInput],
    output: Path | str,
    *,
    settings: OutputSettings | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Iterator[CaseResult]:
    """Segment cases one after the other and write their outputs; a case that fails does not stop the others.

    Every error of a case, lack of memory too, is the failure of that case alone; only an interrupt ends the loop. If a
    case fails, is interrupted or is killed, its earlier outputs stay as they were.

    Parameters
    ----------
    model : Model
    cases : sequence of CaseInput
        See `volseg.cases.inputs.collect_cases`.
    output : path
        Folder that gets a folder for each case. Other processes may write into it at the same time.
    settings : OutputSettings, optional
    device : str
        As torch names it, or ``auto``.
    progress : Progress, optional
        Called with ("slices", slices done, slices in all) of the case that is being segmented.

    Yields
    ------
    CaseResult
        In the order of the cases.

    Raises
    ------
    InputError
        The model lacks a label that is wanted.
    OutputError
        The output folder cannot be written.
    UsageError
        There is no such device.
    """
    job = make_job(model, output, settings=settings, device=device)
    check_writable(job.output)
    tidy_output(job.output)
    for case in cases:
        result = _run_alone(job, case, progress)
        note_ending(job.output, result)
        yield result


def _run_alone(job: Job, case: CaseInput, progress: Progress | None) -> CaseResult:
    try:
        return run_case(job, plan_case(job, case), progress)
    except Exception as error:  # noqa: BLE001 (one scan must not end the cohort, whatever is wrong with it)
        return CaseResult(case, error=_failure(error, case))


def _failure(error: Exception, case: CaseInput) -> VolsegError:
    """Return an error to be shown; the arrays of the failed stages are let go."""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, VolsegError):
        return error
    reason, where = str(error) or type(error).__name__, ", ".join(map(str, case.paths))
    # torch raises RuntimeError when memory runs out, with several texts.
    if isinstance(error, MemoryError) or "out of memory" in reason or "allocate memory" in reason:
        failure = VolsegError(f"{where}: does not fit into memory ({reason}); close other programs, or crop the scan")
    else:
        failure = VolsegError(f"{where}: unexpected {type(error).__name__}: {reason}")
    failure.__cause__ = error
    return failure

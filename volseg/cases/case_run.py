"""The stages of one case: read, predict, clean up, make its outputs."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from volseg._version import __version__
from volseg.cases.case_doubt import read_doubt
from volseg.cases.case_folder import CaseFolder, claimed_folder
from volseg.cases.inputs import CaseInput
from volseg.cases.job import Job
from volseg.cases.output_table import Needs, SegmentedCase, recorded_settings
from volseg.cases.outputs import LABELS, CaseResult
from volseg.cases.plan import CasePlan, Work, find_work
from volseg.core.label_choice import keep_labels
from volseg.core.labelmap import LabelMap, volumes_ml
from volseg.core.volume import Volume
from volseg.files.atomic import write_text
from volseg.files.names import shown_path, with_shown_paths
from volseg.inspection.reader_notes import collected_notes
from volseg.io import read_labels
from volseg.io.case_record import RECORD, state_of
from volseg.io.scan_files import ScanFiles, find_scan_files
from volseg.network.devices import choose_device
from volseg.prediction.cleanup import clean_labels
from volseg.prediction.doubt import Doubt, with_surfaces
from volseg.prediction.inference import Prediction, predict_scan
from volseg.progress import Progress

_LOG = logging.getLogger(__name__)

OUTPUT_FORMAT = 1


def run_case(job: Job, plan: CasePlan, progress: Progress | None = None) -> CaseResult:
    """Make the outputs that a case lacks; they appear in the output folder together.

    Unless the plan says that the case is finished, its folder is locked and looked at again, as other processes may
    have worked on it since.

    Parameters
    ----------
    job : Job
        The one that the plan was made for.
    plan : CasePlan
    progress : Progress, optional
        Called with ("slices", slices done, slices in all).

    Raises
    ------
    VolsegError
        The case was refused or failed; earlier files are unchanged.
    """
    case = plan.case
    if plan.folder is not None and plan.state == "finished":
        return CaseResult(plan.folder.named(case), plan.folder.files())
    scan = plan.scan or find_scan_files(case.paths, case.series)
    with claimed_folder(job.output, case, scan) as folder:
        work = find_work(job, folder, scan)
        if not work.outputs:
            return CaseResult(folder.named(case), folder.files())
        with folder.replaced() as new:
            stages = _Stages(job, case, scan, folder, work, new)
            stages.run(progress)
            scan.check_unchanged()
            names = stages.write_record()
    files, written = [], []
    for name in names:
        files.append(folder.path / name)
        if name not in work.kept:
            written.append(folder.path / name)
    return CaseResult(folder.named(case), tuple(files), tuple(written), doubt=stages.doubt)


class _Stages:
    """The stages of one case, which write into a new folder, and their seconds."""

    def __init__(self, job: Job, case: CaseInput, scan: ScanFiles, folder: CaseFolder, work: Work, new: Path) -> None:
        self.job, self.case, self.scan, self.folder, self.work, self.new = job, case, scan, folder, work, new
        self.seconds: dict[str, float] = {}
        self.doubt: Doubt | None = None
        self.warnings: dict[str, list[str]] = {}
        # Further entries of run.json; if outputs are only added to a case, its earlier entries.
        self.facts: dict[str, Any] = {}
        if folder.record is not None and work.needs < Needs.PREDICTION:
            self.facts = folder.record.model_dump()

    def run(self, progress: Progress | None) -> None:
        for name in self.work.kept:
            self._keep(name)
        volumes = self._read() if self.work.needs >= Needs.SCAN else []
        prediction = None
        if self.work.needs >= Needs.PREDICTION:
            prediction = self._predict(volumes, progress)
            labels = self._clean(prediction)
            self.facts = self._facts(labels, volumes)
            if prediction.doubt is not None:
                self.doubt = self.job.settle_doubt(prediction.doubt, labels)
                self.facts["doubt"] = self.doubt.to_json()
        else:
            labels = read_labels(self.new / LABELS)
        case = SegmentedCase(
            self.folder.path.name,
            self.new,
            self.work.settings,
            labels,
            volumes,
            prediction,
            model_labels=self.job.model.labels,
            wanted_labels=self.job.labels,
            doubtful_slices=read_doubt(self.facts.get("doubt")).slices,
            surface_factor=self._surface_factor(),
        )
        for output in self.work.outputs:
            with self._timed(output.stage):
                output.make(case, self.new)
        if self.doubt is not None and case.has_surfaces:
            self.doubt = with_surfaces(self.doubt, case.surfaces)
            self.facts["doubt"] = self.doubt.to_json()

    def _surface_factor(self) -> float | None:
        """Return the model's factor; none where the prediction is unlike those of held-out cases."""
        return self.job.surface_factor if self.doubt is not None and self.doubt.percentile else None

    def _keep(self, name: str) -> None:
        """Take over a file that is there, by a link where the file system has links."""
        source, target = self.folder.place / name, self.new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    def _read(self) -> list[Volume]:
        with self._timed("read"):
            volumes = self.scan.read(strict=self.job.settings.strict)
        self.scan.check_unchanged()
        for output in self.work.outputs:
            if output.check is not None:
                output.check(self.scan, volumes[0])
        return volumes

    def _predict(self, volumes: Sequence[Volume], progress: Progress | None) -> Prediction:
        model = self.job.model
        for volume, name, expected in zip(volumes, model.channel_names, model.modalities, strict=False):
            if volume.modality and expected and volume.modality != expected:
                _LOG.warning(
                    "%s: is %s, the model's channel %s was trained on %s", volume.name, volume.modality, name, expected
                )
        with self._timed("predict"):
            probabilities = self.work.needs >= Needs.PROBABILITIES
            return predict_scan(self.job.ready_model, volumes, probabilities=probabilities, progress=progress)

    def _clean(self, prediction: Prediction) -> LabelMap:
        """Return the wanted labels after clean-up."""
        with self._timed("cleanup"):
            labels = clean_labels(prediction.labels, self.job.cleanup) if self.job.cleanup else prediction.labels
            return keep_labels(labels, {label.value for label in self.job.labels})

    def _facts(self, labels: LabelMap, channels: Sequence[Volume]) -> dict[str, Any]:
        """Return the entries of ``run.json`` for a prediction; warn if it found nothing."""
        volumes = volumes_ml(labels)
        if not any(volumes.values()):
            _LOG.warning(
                "%s: the model has found none of its labels (%s); see whether it is a scan of what it was trained on",
                self.folder.path.name,
                ", ".join(volumes),
            )
        path, full = self.job.model.path, self.job.settings.full_paths
        facts = {
            "versions": {"volseg": __version__, "torch": version("torch"), "python": platform.python_version()},
            "model": shown_path(path, full=full) if path else None,
            "device": str(choose_device(self.job.device)),
            "grid": {"shape": labels.grid.shape, "affine": labels.grid.affine.tolist()},
            "channels": [{"name": channel.name, "modality": channel.modality} for channel in channels],
            "volumes_ml": {name: round(volume, 4) for name, volume in volumes.items()},
            "cleanup": self.job.explain_cleanup(),
            "trained_on": self.job.explain_training(),
        }
        if self.job.model.weakness:
            facts["model_weakness"] = self.job.model.weakness
        return facts

    def write_record(self) -> list[str]:
        """Write ``run.json`` about the files in the new folder; return their names and its own."""
        names = []
        for path in self.new.rglob("*"):
            if path.is_file():
                names.append(path.relative_to(self.new).as_posix())
        names.sort()
        full = self.job.settings.full_paths
        content: dict[str, Any] = {
            "format": OUTPUT_FORMAT,
            "case": self.folder.path.name,
            "input": [shown_path(path, full=full) for path in self.case.paths],
            "series": self.case.series,
            "made_by": self.job.how() | recorded_settings(self.work.settings),
            "scan": self.scan.record().model_dump(),
        }
        for name, fact in self.facts.items():
            content.setdefault(name, fact)
        seconds = dict(self.facts.get("seconds", {}))
        for stage, taken in self.seconds.items():
            seconds[stage] = round(taken, 3)
        content["seconds"] = seconds
        content["warnings"] = self.facts.get("warnings", {}) | self._shown_warnings()
        content["files"] = [*names, RECORD]
        content["written"] = {name: state_of(self.new / name).model_dump() for name in names}
        write_text(self.new / RECORD, json.dumps(content, indent=2, allow_nan=False) + "\n")
        return [*names, RECORD]

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        with collected_notes(alone=False) as texts:
            yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - start
        self.warnings.setdefault(stage, []).extend(texts)

    def _shown_warnings(self) -> dict[str, list[str]]:
        """Return the warnings of each stage, with the paths of the scan as they are shown elsewhere."""
        found, full = {}, self.job.settings.full_paths
        for stage, texts in self.warnings.items():
            if texts:
                found[stage] = [with_shown_paths(text, self.case.paths, full=full) for text in texts]
        return found

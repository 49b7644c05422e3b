"""The stages of one case: read, predict, clean up, write, mesh."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg._version import __version__
from volseg.cases.case_folder import CaseFolder, claimed_folder
from volseg.cases.finished import Work, find_work
from volseg.cases.inputs import CaseInput
from volseg.cases.outputs import LABELS, MESHES, PROBABILITIES, CaseResult, OutputSettings, dicom_name
from volseg.config import CleanupConfig
from volseg.core.label_choice import keep_labels
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.files.atomic import write_text
from volseg.files.names import shown_path
from volseg.io import read_labels, write
from volseg.io.case_record import RECORD, state_of
from volseg.io.images.nifti import write_nifti
from volseg.io.scan_files import ScanFiles, find_scan_files
from volseg.network.devices import choose_device
from volseg.network.file import Model
from volseg.prediction.cleanup import clean_labels
from volseg.prediction.inference import INFERENCE, Prediction, Progress, predict

_LOG = logging.getLogger(__name__)

OUTPUT_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Job:
    """What all cases of a call have in common.

    Parameters
    ----------
    model : Model
    output : Path
        Gets a folder for each case.
    settings : OutputSettings
    labels : tuple of Label
        Those of the model that are wanted.
    cleanup : dict of str to CleanupConfig
        By label name.
    device : str
        As torch names it, or ``auto``.
    """

    model: Model
    output: Path
    settings: OutputSettings
    labels: tuple[Label, ...]
    cleanup: dict[str, CleanupConfig]
    device: str

    def how(self, *, by_weights: bool = False) -> dict[str, Any]:
        """Return what decides over the labels; versions before 0.1.0 knew a model by its weights alone."""
        return {
            "model": [
                self.model.fingerprint,
                self.model.sha256 if by_weights else self.model.digest,
                self.model.temperature,
            ],
            "version of inference": INFERENCE,
            "strict": self.settings.strict,
            "only": None if self.labels == self.model.labels else [label.name for label in self.labels],
            "cleanup": {name: entry.model_dump() for name, entry in self.cleanup.items()},
        }


def run_case(job: Job, case: CaseInput, progress: Progress | None = None) -> CaseResult:
    """Make what a case lacks, if anything, and give it its place in the output folder.

    Raises
    ------
    VolsegError
        Why it failed; what was there before is as it was.
    """
    scan = find_scan_files(case.paths, case.series)
    with claimed_folder(job.output, case, scan) as folder:
        is_former = folder.record is not None and folder.record.scan is None
        work = find_work(folder, scan, job.settings, job.how(by_weights=is_former))
        named = replace(case, name=folder.path.name) if case.by_content else case
        if not work:
            names = folder.record.files if folder.record else []
            return CaseResult(named, tuple(folder.path / name for name in names))
        with folder.replaced() as new:
            stages = _Stages(job, case, scan, folder, work, new)
            stages.run(progress)
            scan.check_unchanged()
            names = stages.write_record()
        files = tuple(folder.path / name for name in names)
        return CaseResult(
            named, files, tuple(file for file, name in zip(files, names, strict=True) if name not in work.kept)
        )


class _Stages:
    """What is made for one case, in a new folder, and how long each stage takes."""

    def __init__(self, job: Job, case: CaseInput, scan: ScanFiles, folder: CaseFolder, work: Work, new: Path) -> None:
        self.job, self.case, self.scan, self.folder, self.work, self.new = job, case, scan, folder, work, new
        self.settings = work.settings
        self.seconds: dict[str, float] = {}
        # What run.json says besides; of a case that is only added to, what it said.
        self.facts: dict[str, Any] = folder.record.model_dump() if folder.record and not work.predict else {}

    def run(self, progress: Progress | None) -> None:
        for name in self.work.kept:
            self._keep(name)
        volumes = self._read() if self.work.predict or self.work.forms else []
        prediction = self._predict(volumes, progress) if self.work.predict else None
        labels = read_labels(self.new / LABELS) if prediction is None else self._write_labels(prediction, volumes)
        with self._timed("write"):
            for form in self.work.forms:
                self._write_dicom(form, labels, prediction, volumes[0])
        if self.work.meshes and 1 in labels.grid.shape:
            _LOG.warning(
                "%s: has a single slice; a surface needs at least 2, so no meshes are written", self.folder.path.name
            )
        elif self.work.meshes:
            with self._timed("mesh"):
                self._write_meshes(labels, prediction)

    def _keep(self, name: str) -> None:
        """Take over a file that is there, without a copy where the file system can do that."""
        source, target = self.folder.place / name, self.new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    def _read(self) -> list[Volume]:
        with self._timed("read"):
            volumes = self.scan.read(strict=self.settings.strict)
        self.scan.check_unchanged()
        if self.work.forms and volumes[0].source is None:
            raise InputError(
                f"{self.case.paths[0]}: is no DICOM scan, so there are no files that a DICOM object could refer to; "
                "leave out --dicom, or give the DICOM series"
            )
        if set(self.work.forms) - {"rtstruct"}:
            from volseg.io.dicom import checked_source

            checked_source(volumes[0].source, self.folder.path)
        return volumes

    def _predict(self, volumes: Sequence[Volume], progress: Progress | None) -> Prediction:
        model = self.job.model
        for volume, name, expected in zip(volumes, model.channel_names, model.modalities, strict=False):
            if volume.modality and expected and volume.modality != expected:
                _LOG.warning(
                    "%s: is %s, the model's channel %s was trained on %s", volume.name, volume.modality, name, expected
                )
        with self._timed("predict"):
            probabilities = self.settings.probabilities or "fractional" in self.work.forms
            return predict(model, volumes, device=self.job.device, probabilities=probabilities, progress=progress)

    def _write_labels(self, prediction: Prediction, volumes: Sequence[Volume]) -> LabelMap:
        with self._timed("cleanup"):
            labels = clean_labels(prediction.labels, self.job.cleanup) if self.job.cleanup else prediction.labels
            labels = keep_labels(labels, {label.value for label in self.job.labels})
        counts = {label.name: int(np.count_nonzero(labels.mask(label))) for label in labels.labels}
        if not any(counts.values()):
            _LOG.warning(
                "%s: the model has found none of its labels (%s); see whether it is a scan of what it was trained on",
                self.folder.path.name,
                ", ".join(counts),
            )
        with self._timed("write"):
            write(labels, self.new / LABELS)
            if self.settings.probabilities and (arrays := self._label_probabilities(prediction)) is not None:
                # Background is 1 minus the sum of the labels, which are along the fourth axis as in labels.tsv.
                write_nifti(np.moveaxis(arrays, 0, -1), prediction.labels.grid, self.new / PROBABILITIES)
        self.facts = self._facts(labels, volumes, counts)
        return labels

    def _facts(self, labels: LabelMap, volumes: Sequence[Volume], counts: dict[str, int]) -> dict[str, Any]:
        model, full = self.job.model, self.settings.full_paths
        return {
            "versions": {"volseg": __version__, "torch": version("torch"), "python": platform.python_version()},
            "model": shown_path(model.path, full=full) if model.path else None,
            "device": str(choose_device(self.job.device)),
            "grid": {"shape": labels.grid.shape, "affine": labels.grid.affine.tolist()},
            "channels": [{"name": volume.name, "modality": volume.modality} for volume in volumes],
            "volumes_ml": {k: round(n * labels.grid.voxel_volume_mm3 / 1000, 4) for k, n in counts.items()},
        }

    def _label_probabilities(self, prediction: Prediction) -> NDArray[np.float16] | None:
        """(L, I, J, K) of each wanted label by its value, as label maps have them; a model may have another order."""
        return self._probabilities_of(sorted(self.job.labels, key=lambda label: label.value), prediction)

    def _probabilities_of(self, labels: Sequence[Label], prediction: Prediction) -> NDArray[np.float16] | None:
        if prediction.probabilities is None:
            return None
        places = [self.job.model.labels.index(label) for label in labels]
        arrays = prediction.probabilities[1:]
        return arrays if places == list(range(len(arrays))) else arrays[places]

    def _write_dicom(self, form: str, labels: LabelMap, prediction: Prediction | None, scan: Volume) -> None:
        path = self.new / dicom_name(form)
        if form != "fractional":
            write(labels, path, image=scan, form=form)
        elif prediction is not None and (arrays := self._probabilities_of(self.job.labels, prediction)) is not None:
            from volseg.io.dicom import write_dicom_probabilities

            grid, names = prediction.labels.grid, self.job.labels
            write_dicom_probabilities(arrays, path, grid=grid, labels=names, source=scan.source)

    def _write_meshes(self, labels: LabelMap, prediction: Prediction | None) -> None:
        from volseg.cases.surfaces import kept_probabilities
        from volseg.io.mesh import write_meshes
        from volseg.surface import extract_surfaces

        # Only where they are kept, so that `volseg mesh` makes the same surfaces of the outputs.
        sharp: Sequence[NDArray[Any]] | NDArray[Any] | None = None
        if prediction is None:
            sharp = kept_probabilities(self.new / LABELS, labels)
        elif self.settings.probabilities:
            sharp = self._label_probabilities(prediction)
        meshes = extract_surfaces(labels, probabilities=sharp)
        write_meshes(meshes, self.new / MESHES, formats=self.settings.mesh_formats, space=self.settings.mesh_space)

    def write_record(self) -> list[str]:
        """Write ``run.json`` about all that is in the new folder; return the names of the files."""
        files = sorted(path.relative_to(self.new).as_posix() for path in self.new.rglob("*") if path.is_file())
        settings, before = self.settings, self.facts.get("seconds", {})
        content: dict[str, Any] = {
            "format": OUTPUT_FORMAT,
            "case": self.folder.path.name,
            "input": [shown_path(path, full=settings.full_paths) for path in self.case.paths],
            "series": self.case.series,
            "made_by": self.job.how()
            | {
                "probabilities": settings.probabilities,
                "mesh_formats": list(settings.mesh_formats),
                "mesh_space": settings.mesh_space,
                "dicom_forms": list(settings.dicom_forms),
            },
            "scan": self.scan.record().model_dump(),
        }
        content |= {name: fact for name, fact in self.facts.items() if name not in content}
        content |= {
            "seconds": before | {name: round(s, 3) for name, s in self.seconds.items()},
            "files": [*files, RECORD],
            "written": {name: state_of(self.new / name).model_dump() for name in files},
        }
        write_text(self.new / RECORD, json.dumps(content, indent=2, allow_nan=False) + "\n")
        return [*files, RECORD]

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - start

"""Scan and model to every output of a case; the only module that knows all stages.

A case's outputs are an interface (version 1, named in ``run.json``)::

    OUT/<case>/labels.nii.gz         label map on the scan's own grid
               labels.tsv            names and colours
               probabilities.nii.gz  of every label along the fourth axis, if asked for
               labels_<form>.dcm     DICOM objects that refer to the scan's files, if asked for; see `DICOM_FORMS`
               meshes/<label>.<ext>  if asked for; VTM is one for all, meshes/surfaces.vtm
               run.json              what was done; written last, so that it marks a finished case
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg import __version__
from volseg.config import CleanupConfig
from volseg.errors import InputError, VolsegError
from volseg.files import read_json
from volseg.inference import INFERENCE, Prediction, Progress, predict
from volseg.io import read_channels, write
from volseg.io.atomic import check_writable, write_text
from volseg.io.inputs import CaseInput, file_state, path_hash
from volseg.io.nifti import write_nifti
from volseg.io.writing import LABEL_FORMS
from volseg.labelmap import LabelMap
from volseg.model.devices import choose_device
from volseg.model.file import Model
from volseg.postprocess import clean_labels, resolve_cleanup
from volseg.volume import Volume

logger = logging.getLogger(__name__)

OUTPUT_FORMAT = 1
# A segmentation also of the probabilities.
DICOM_FORMS = (*LABEL_FORMS, "fractional")


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
        Coordinate system of the surfaces; see `volseg.io.meshes.write_meshes`.
    dicom_forms : tuple of {"seg", "labelmap", "rtstruct", "fractional"}
        Also these DICOM objects, on the slices of the DICOM scan as they are stored.
    cleanup : dict of str to CleanupConfig
        By label name, ``*`` for all; what is set in it goes over what the model was configured with.
    overwrite : bool
        Redo cases that are finished.
    refresh : bool
        Redo those that were made in another way, rather than refuse them.
    strict : bool
        Refuse scans that would have to be repaired; see `volseg.io.read`.
    """

    probabilities: bool = False
    mesh_formats: tuple[str, ...] = ()
    mesh_space: str = "lps"
    dicom_forms: tuple[str, ...] = ()
    cleanup: dict[str, CleanupConfig] = field(default_factory=dict)
    overwrite: bool = False
    refresh: bool = False
    strict: bool = False


@dataclass(frozen=True)
class CaseResult:
    """How one case ended: its files, or the reason why there are none."""

    case: CaseInput
    files: tuple[Path, ...] = ()
    skipped: bool = False
    error: VolsegError | None = None


def process_cases(
    model: Model,
    cases: Sequence[CaseInput],
    output: Path | str,
    *,
    settings: OutputSettings | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Iterator[CaseResult]:
    """Segment cases one after the other and write their outputs; a case that fails does not stop the others."""
    chosen = settings or OutputSettings()
    cleanup = resolve_cleanup([label.name for label in model.labels], model.config.cleanup, chosen.cleanup)
    check_writable(Path(output))
    for case in cases:
        runner = _CaseRun(model, case, Path(output), settings=chosen, cleanup=cleanup, device=device)
        try:
            yield runner.skip() or runner.run(progress)
        except VolsegError as error:
            yield CaseResult(case, error=error)


class _CaseRun:
    """The stages of one case, timed."""

    def __init__(
        self,
        model: Model,
        case: CaseInput,
        output: Path,
        *,
        settings: OutputSettings,
        cleanup: dict[str, CleanupConfig],
        device: str,
    ) -> None:
        self.model, self.case, self.settings = model, case, settings
        self.cleanup, self.device = cleanup, device
        self.folder = self._folder(output)
        self.seconds: dict[str, float] = {}
        self.files: list[Path] = []

    def _inputs(self) -> list[str]:
        return [str(path.resolve()) for path in self.case.paths]

    def _folder(self, output: Path) -> Path:
        """`OUT/<case>`, or with a hash where another input's outputs have that name already."""
        folder = output / self.case.name
        previous = _read_run(folder)
        if previous and (previous.get("input"), previous.get("series")) != (self._inputs(), self.case.series):
            return output / f"{self.case.name}-{path_hash(self.case.paths, self.case.series)}"
        return folder

    def skip(self) -> CaseResult | None:
        """Return a result if the case is finished and shall not be redone."""
        previous = _read_run(self.folder)
        if self.settings.overwrite or not previous:
            return None
        # Surfaces were LPS before there was a choice.
        old, new = {"mesh_space": "lps", **previous.get("made_by", {})}, self._made_by()
        if differing := [name for name in new if old.get(name) != new[name]]:
            if self.settings.refresh:
                return None
            raise InputError(
                f"{self.folder}: is there, but {' and '.join(differing)} differ; add --overwrite or choose another "
                "output folder"
            )
        files = tuple(self.folder / name for name in previous["files"])
        return CaseResult(self.case, files, skipped=True) if all(file.is_file() for file in files) else None

    def _made_by(self) -> dict[str, Any]:
        return {
            "model": [self.model.fingerprint, self.model.digest, self.model.temperature],
            "version of inference": INFERENCE,
            "probabilities": self.settings.probabilities,
            "mesh_formats": list(self.settings.mesh_formats),
            "mesh_space": self.settings.mesh_space,
            "dicom_forms": list(self.settings.dicom_forms),
            "strict": self.settings.strict,
            "scan files": file_state(self.case.paths),
            "cleanup": {name: entry.model_dump() for name, entry in self.cleanup.items()},
        }

    def run(self, progress: Progress | None) -> CaseResult:
        with self._timed("read"):
            volumes = read_channels(self.case.paths, series=self.case.series, strict=self.settings.strict)
        self._check_source(volumes[0])
        self._compare_modalities(volumes)
        with self._timed("predict"):
            prediction = predict(
                self.model,
                volumes,
                device=self.device,
                probabilities=self.settings.probabilities or "fractional" in self.settings.dicom_forms,
                progress=progress,
            )
        with self._timed("cleanup"):
            labels = clean_labels(prediction.labels, self.cleanup) if self.cleanup else prediction.labels
        self._remove_previous()
        with self._timed("write"):
            self._write(labels, prediction)
            self._write_dicom(labels, prediction, volumes[0])
        if self.settings.mesh_formats and 1 in labels.grid.shape:
            logger.warning(
                "%s: has a single slice; a surface needs at least 2, so no meshes are written", self.case.name
            )
        elif self.settings.mesh_formats:
            with self._timed("mesh"):
                self._write_meshes(labels, prediction)
        self._write_run(labels, volumes)
        return CaseResult(self.case, tuple(self.files))

    def _check_source(self, scan: Volume) -> None:
        """Refuse before the hours of work what can not be written after them."""
        if self.settings.dicom_forms and scan.source is None:
            raise InputError(
                f"{self.case.paths[0]}: is no DICOM scan, so there are no files that a DICOM object could refer to; "
                "leave out --dicom, or give the DICOM series"
            )
        if set(self.settings.dicom_forms) - {"rtstruct"}:
            from volseg.io.dicom_seg_source import checked_source

            checked_source(scan.source, self.folder)

    def _compare_modalities(self, volumes: Sequence[Volume]) -> None:
        for volume, name, expected in zip(volumes, self.model.channel_names, self.model.modalities, strict=False):
            if volume.modality and expected and volume.modality != expected:
                logger.warning(
                    "%s: is %s, the model's channel %s was trained on %s", volume.name, volume.modality, name, expected
                )

    def _remove_previous(self) -> None:
        """Remove what an earlier run wrote: first its mark of being finished, then its files."""
        previous = _read_run(self.folder)
        (self.folder / "run.json").unlink(missing_ok=True)
        for name in previous["files"] if previous else ():
            file = self.folder / name
            if file.resolve().is_relative_to(self.folder.resolve()):
                file.unlink(missing_ok=True)
                if file.parent != self.folder:
                    # Its folder too, once it is empty.
                    with suppress(OSError):
                        file.parent.rmdir()

    def _write(self, labels: LabelMap, prediction: Prediction) -> None:
        self.files += write(labels, self.folder / "labels.nii.gz")
        if self.settings.probabilities and (arrays := self._label_probabilities(prediction)) is not None:
            # Background is 1 minus the sum of the labels, which are written along the fourth axis as in labels.tsv.
            path = self.folder / "probabilities.nii.gz"
            write_nifti(np.moveaxis(arrays, 0, -1), prediction.labels.grid, path)
            self.files.append(path)

    def _label_probabilities(self, prediction: Prediction) -> NDArray[np.float16] | None:
        """(L, I, J, K) of each label by its value, as label maps have them; a model may have another order."""
        if prediction.probabilities is None:
            return None
        arrays, order = prediction.probabilities[1:], np.argsort([label.value for label in self.model.labels])
        return arrays if np.array_equal(order, np.arange(len(order))) else arrays[order]

    def _write_dicom(self, labels: LabelMap, prediction: Prediction, scan: Volume) -> None:
        for form in self.settings.dicom_forms:
            path = self.folder / f"labels_{form}.dcm"
            if form != "fractional":
                self.files += write(labels, path, image=scan, form=form)
            elif prediction.probabilities is not None:
                from volseg.io.dicom_seg import write_dicom_probabilities

                grid, names = prediction.labels.grid, self.model.labels
                write_dicom_probabilities(
                    prediction.probabilities[1:], path, grid=grid, labels=names, source=scan.source
                )
                self.files.append(path)

    def _write_meshes(self, labels: LabelMap, prediction: Prediction) -> None:
        from volseg.io.meshes import write_meshes
        from volseg.surface import extract_surfaces

        chosen = self.settings
        # Only where they are kept, so that `volseg mesh` makes the same surfaces of the outputs.
        sharp = self._label_probabilities(prediction) if chosen.probabilities else None
        meshes = extract_surfaces(labels, probabilities=sharp)
        self.files += write_meshes(meshes, self.folder / "meshes", formats=chosen.mesh_formats, space=chosen.mesh_space)

    def _write_run(self, labels: LabelMap, volumes: Sequence[Volume]) -> None:
        counts = {label.name: int(np.count_nonzero(labels.mask(label))) for label in labels.labels}
        if not any(counts.values()):
            logger.warning(
                "%s: the model has found none of its labels (%s); see whether it is a scan of what it was trained on",
                self.case.name,
                ", ".join(counts),
            )
        self.files.append(self.folder / "run.json")
        content = {
            "format": OUTPUT_FORMAT,
            "case": self.case.name,
            "input": self._inputs(),
            "series": self.case.series,
            "made_by": self._made_by(),
            "versions": {"volseg": __version__, "torch": version("torch"), "python": platform.python_version()},
            "model": str(self.model.path.resolve()) if self.model.path else None,
            "device": str(choose_device(self.device)),
            "grid": {"shape": labels.grid.shape, "affine": labels.grid.affine.tolist()},
            "channels": [{"name": volume.name, "modality": volume.modality} for volume in volumes],
            "volumes_ml": {k: round(n * labels.grid.voxel_volume_mm3 / 1000, 4) for k, n in counts.items()},
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            "files": [str(file.relative_to(self.folder).as_posix()) for file in self.files],
        }
        write_text(self.folder / "run.json", json.dumps(content, indent=2, allow_nan=False) + "\n")

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[stage] = time.monotonic() - start


def _read_run(folder: Path) -> dict[str, Any] | None:
    """Return what ``run.json`` says, or None where the case is not finished."""
    try:
        content = read_json(folder / "run.json")
    except InputError:
        return None
    return content if isinstance(content, dict) and isinstance(content.get("files"), list) else None

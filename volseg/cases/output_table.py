"""The outputs of a case, one row each: the setting that asks for it, its files, its needs, and the function for it.

The rest follows from the rows: missing outputs, names of output files, refusals before the network is started, and the
settings in ``run.json``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import IntEnum
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from volseg.cases.outputs import DOUBT, LABELS, MESHES, PAGE, PROBABILITIES, TABLE, OutputSettings, dicom_name
from volseg.core.labelmap import Label, LabelMap
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.files.names import IMAGE_SUFFIXES, has_suffix
from volseg.io import LABEL_FORMS, read, write
from volseg.io.case_record import RECORD
from volseg.io.images.nifti import write_nifti
from volseg.io.mesh import WRITTEN_SUFFIXES
from volseg.io.scan_files import ScanFiles

if TYPE_CHECKING:
    from volseg.prediction.doubt import SliceDoubt
    from volseg.prediction.inference import Prediction

_LOG = logging.getLogger(__name__)


class Needs(IntEnum):
    """The inputs of an output; each member includes those before it."""

    LABELS = 0  # the label map, which may exist already
    SCAN = 1  # also the voxels of the scan
    PREDICTION = 2  # also a new prediction, so that every output is made anew
    PROBABILITIES = 3  # also the probabilities of that prediction


@dataclass(frozen=True, eq=False)
class SegmentedCase:
    """The inputs of all outputs.

    Parameters
    ----------
    name : str
        Of the case's folder.
    folder : Path
        The hidden folder that will be the case's folder; it holds the outputs that are made already.
    settings : OutputSettings
        All outputs that the case will hold.
    labels : LabelMap
        The wanted labels after clean-up, on the scan's own grid.
    volumes : sequence of Volume
        The channels of the scan; empty if no output needs it.
    prediction : Prediction, optional
        None if no output needs it; with probabilities if one needs them.
    model_labels : tuple of Label
        All labels of the model, in its order.
    wanted_labels : tuple of Label
        The wanted ones among them.
    doubtful_slices : tuple of SliceDoubt
        Of the label map, the least sure first.
    surface_factor : float, optional
        Of the model; see `volseg.network.doubt_fit.SurfaceFit`.
    """

    name: str
    folder: Path
    settings: OutputSettings
    labels: LabelMap
    volumes: Sequence[Volume]
    prediction: Prediction | None
    model_labels: tuple[Label, ...]
    wanted_labels: tuple[Label, ...]
    doubtful_slices: tuple[SliceDoubt, ...] = ()
    surface_factor: float | None = None

    def probabilities(self, *, by_value: bool) -> NDArray[np.float16] | None:
        """Return (L, I, J, K) probabilities of the wanted labels; None if they were not predicted.

        Parameters
        ----------
        by_value : bool
            Whether to order them by label value, as in ``labels.tsv``. If False, they are in the order of
            `wanted_labels`.
        """
        if self.prediction is None or self.prediction.probabilities is None:
            return None
        labels = list(self.wanted_labels)
        if by_value:
            labels.sort(key=lambda label: label.value)
        every = self.prediction.probabilities[1:]
        if labels == list(self.model_labels):
            return every
        return every[[self.model_labels.index(label) for label in labels]]

    @property
    def doubt_voxels(self) -> Volume | None:
        """How unsure each voxel is; None if the case does not hold it."""
        return read(self.folder / DOUBT) if self.settings.doubt else None

    @property
    def has_surfaces(self) -> bool:
        """Whether an output has made them."""
        return "surfaces" in vars(self)

    @cached_property
    def surfaces(self) -> list[Mesh]:
        """The surface of each label that occurs; none on a single slice."""
        from volseg.cases.surfaces import kept_probabilities
        from volseg.surface import extract_surfaces

        if 1 in self.labels.grid.shape:
            _LOG.warning("%s: has a single slice; a surface needs at least 2, so there are none", self.name)
            return []
        # Only probabilities that are kept, so that `volseg mesh` makes the same surfaces of the outputs.
        sharp: Sequence[NDArray[Any]] | NDArray[Any] | None = None
        if self.prediction is None:
            sharp = kept_probabilities(self.folder / LABELS, self.labels)
        elif self.settings.probabilities:
            sharp = self.probabilities(by_value=True)
        return [self._with_sd(mesh) for mesh in extract_surfaces(self.labels, probabilities=sharp)]

    def _with_sd(self, mesh: Mesh) -> Mesh:
        """Add how far each vertex may lie from the true surface, where that is asked for and the model can tell."""
        from volseg.prediction.surface_doubt import SD_NAME, surface_sd

        if self.surface_factor is None or not self.settings.doubt or self.prediction is None:
            return mesh
        if self.prediction.probabilities is None:
            return mesh
        number = 1 + [label.name for label in self.model_labels].index(mesh.name)
        sd = self.surface_factor * surface_sd(mesh, self.prediction.probabilities[number], self.labels.grid)
        return replace(mesh, point_data={SD_NAME: sd.astype(np.float32)})


class Manner(NamedTuple):
    """A setting that says how an output is made; a case has it in one way only.

    Parameters
    ----------
    setting : str
        A field of `OutputSettings`.
    option : str
        Of the command line.
    """

    setting: str
    option: str


@dataclass(frozen=True)
class Output:
    """One output of a case.

    Parameters
    ----------
    files : tuple of str
        Their names in the case's folder; patterns, with ``*``, where they depend on the labels.
    make : callable
        Writes the files into a folder.
    needs : Needs
        What it is made from.
    needs_with_doubt : Needs
        What it is made from as well where the doubt is asked for.
    setting : str, optional
        The field of `OutputSettings` that asks for it; None: it is always made.
    choice : str, optional
        What has to be among the values of the setting, where that asks for several outputs.
    manner : Manner, optional
    check : callable, optional
        Raises where the output cannot be made for a scan. It is called before the scan is read, with None for its first
        channel, and once more when it is read.
    stage : str
        Under which ``run.json`` counts the seconds.
    """

    files: tuple[str, ...]
    make: Callable[[SegmentedCase, Path], None]
    needs: Needs = Needs.LABELS
    needs_with_doubt: Needs = Needs.LABELS
    setting: str | None = None
    choice: str | None = None
    manner: Manner | None = None
    check: Callable[[ScanFiles, Volume | None], None] | None = None
    stage: str = "write"

    def value(self, settings: OutputSettings) -> Any:
        """Return the value that asks for this output; false if it is not asked for.

        Parameters
        ----------
        settings : OutputSettings
        """
        if self.setting is None:
            return True
        value = getattr(settings, self.setting)
        return value if self.choice is None else self.choice in value

    def needs_for(self, settings: OutputSettings) -> Needs:
        """Return what it is made from in a case with these settings.

        Parameters
        ----------
        settings : OutputSettings
        """
        return max(self.needs, self.needs_with_doubt) if settings.doubt else self.needs

    def owns(self, name: str) -> bool:
        """Whether a file in a case's folder has the name of a file of this output.

        Parameters
        ----------
        name : str
            From the case's folder on, with ``/``.
        """
        return any(fnmatchcase(name, file) for file in self.files)

    def is_whole(self, whole: AbstractSet[str], broken: AbstractSet[str]) -> bool:
        """Whether no file of a case's output is missing or changed.

        Parameters
        ----------
        whole, broken : set of str
            The files that ``run.json`` lists: the unchanged ones, and the missing or changed ones.
        """
        if any(map(self.owns, broken)):
            return False
        names = {file for file in self.files if "*" not in file}
        return names <= whole


def asked_outputs(settings: OutputSettings) -> list[Output]:
    """Return the outputs that settings ask for, in the order in which they are made.

    Parameters
    ----------
    settings : OutputSettings
    """
    return [output for output in OUTPUTS if output.value(settings)]


def recorded_settings(settings: OutputSettings) -> dict[str, Any]:
    """Return the settings of outputs by name, in the form of ``made_by`` in ``run.json``.

    Parameters
    ----------
    settings : OutputSettings
    """
    found = {}
    for output in OUTPUTS:
        if output.setting is not None:
            found[output.setting] = getattr(settings, output.setting)
        if output.manner is not None:
            found[output.manner.setting] = getattr(settings, output.manner.setting)
    return found


def is_output(name: str, *, recorded: bool) -> bool:
    """Whether a file in a case's folder has the name of an output.

    Parameters
    ----------
    name : str
        From the case's folder on, with ``/``.
    recorded : bool
        Whether a record lists the outputs of the folder. Then a file that only fits a pattern may be somebody else's,
        such as a mesh beside ours.
    """
    names = {RECORD}
    for output in OUTPUTS:
        if not recorded and output.owns(name):
            return True
        names.update(output.files)
    return name in names


def _write_labels(case: SegmentedCase, folder: Path) -> None:
    write(case.labels, folder / LABELS)


def _write_probabilities(case: SegmentedCase, folder: Path) -> None:
    arrays = case.probabilities(by_value=True)
    if arrays is not None:
        # Background is 1 minus the sum of the labels, which are along the fourth axis as in labels.tsv.
        write_nifti(np.moveaxis(arrays, 0, -1), case.labels.grid, folder / PROBABILITIES)


def _write_doubt(case: SegmentedCase, folder: Path) -> None:
    from volseg.prediction.doubt import entropy

    if case.prediction is not None and case.prediction.probabilities is not None:
        write_nifti(entropy(case.prediction.probabilities), case.labels.grid, folder / DOUBT)


def _write_dicom_labels(form: str, case: SegmentedCase, folder: Path) -> None:
    write(case.labels, folder / dicom_name(form), image=case.volumes[0], form=form)


def _write_dicom_probabilities(case: SegmentedCase, folder: Path) -> None:
    from volseg.io.dicom import write_dicom_probabilities

    arrays = case.probabilities(by_value=False)
    if arrays is not None:
        path, source = folder / dicom_name("fractional"), case.volumes[0].source
        write_dicom_probabilities(arrays, path, grid=case.labels.grid, labels=case.wanted_labels, source=source)


def _check_is_dicom(scan: ScanFiles, image: Volume | None) -> None:
    path = scan.paths[0]
    is_image_file = path.is_file() and has_suffix(path, IMAGE_SUFFIXES)
    if is_image_file or (image is not None and image.source is None):
        raise InputError(
            f"{path}: is no DICOM scan, so there are no files that a DICOM object could refer to; "
            "leave out --dicom, or give the DICOM series"
        )


def _check_is_identified(scan: ScanFiles, image: Volume | None) -> None:
    """See that a structure set can name the scan; its contours can lie on any slices."""
    from volseg.io.dicom import referable_source

    _check_is_dicom(scan, image)
    if image is not None:
        referable_source(image.source, scan.paths[0], "an RT Structure Set")


def _check_can_refer(scan: ScanFiles, image: Volume | None) -> None:
    """See that a DICOM segmentation can name the scan and lie on its slices."""
    from volseg.io.dicom import checked_source

    _check_is_dicom(scan, image)
    if image is not None:
        checked_source(image.source, scan.paths[0])


def _write_meshes(case: SegmentedCase, folder: Path) -> None:
    from volseg.io.mesh import write_meshes

    surfaces = case.surfaces
    if 1 not in case.labels.grid.shape:
        write_meshes(surfaces, folder / MESHES, formats=case.settings.mesh_formats, space=case.settings.mesh_space)


def _write_page(case: SegmentedCase, folder: Path) -> None:
    from volseg.prediction.shown_doubt import ShownDoubt
    from volseg.webpage import page

    doubt = ShownDoubt(case.doubt_voxels, case.doubtful_slices, case.labels.grid)
    page(case.volumes[0], case.labels, meshes=case.surfaces, title=case.name, doubt=doubt).save(folder / PAGE)


def _dicom_output(form: str) -> Output:
    """Return the row of a DICOM object of labels."""
    return Output(
        (dicom_name(form),),
        partial(_write_dicom_labels, form),
        needs=Needs.SCAN,
        setting="dicom_forms",
        choice=form,
        check=_check_is_identified if form == "rtstruct" else _check_can_refer,
    )


OUTPUTS: tuple[Output, ...] = (
    Output((LABELS, TABLE), _write_labels, needs=Needs.PREDICTION),
    Output((PROBABILITIES,), _write_probabilities, needs=Needs.PROBABILITIES, setting="probabilities"),
    Output((DOUBT,), _write_doubt, needs=Needs.PROBABILITIES, setting="doubt"),
    *map(_dicom_output, LABEL_FORMS),
    Output(
        (dicom_name("fractional"),),
        _write_dicom_probabilities,
        needs=Needs.PROBABILITIES,
        setting="dicom_forms",
        choice="fractional",
        check=_check_can_refer,
    ),
    Output(
        tuple(f"{MESHES}/*{suffix}" for suffix in WRITTEN_SUFFIXES),
        _write_meshes,
        needs_with_doubt=Needs.PROBABILITIES,  # the vertices tell their doubt
        setting="mesh_formats",
        manner=Manner("mesh_space", "--space"),
        stage="mesh",
    ),
    Output((PAGE,), _write_page, needs=Needs.SCAN, setting="html", stage="page"),
)

"""The label map of a case: a file, or masks and segments that are merged, with the values of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from volseg.core.labelmap import Label, LabelMap
from volseg.core.merging import Loss, merge_layers, number_layers, renumber
from volseg.datasets.packed import PackedLabels
from volseg.datasets.types import Case
from volseg.errors import DatasetError
from volseg.files.names import SEG_NRRD_SUFFIXES, has_suffix, image_format
from volseg.files.plain_text import first_few
from volseg.io import look, read_label_layers, write
from volseg.io.labels import read_mask_files
from volseg.io.scan_files import file_state


def read_reference(case: Case) -> LabelMap:
    """Read the label map of a case; where structures overlap, the smallest has the voxel (`volseg.core.merging`).

    Parameters
    ----------
    case : Case
        If it has its label map packed and the files are as they were, nothing is decoded.

    Raises
    ------
    DatasetError
        It has none, or its masks cannot be told apart.
    """
    state = file_state(_label_files(case))
    if case.packed is not None and case.packed.state == state:
        return case.packed.unpack()
    return _read_merged(case)[0]


def pack_reference(case: Case) -> tuple[Case, LabelMap]:
    """Read the label map of a case and pack it, so that `read_reference` need not decode it again.

    Parameters
    ----------
    case : Case

    Returns
    -------
    case : Case
        With its label map packed.
    labels : LabelMap
    """
    state = file_state(_label_files(case))  # before the files are read: if they change meanwhile, they are read again
    if case.packed is not None and case.packed.state == state:
        return case, case.packed.unpack()
    labels, losses = _read_merged(case)
    return replace(case, packed=PackedLabels.pack(labels, state, losses)), labels


def label_map_file(case: Case, folder: Path) -> Path:
    """Return a file with the label map of a case, to compare predictions with.

    Parameters
    ----------
    case : Case
    folder : Path
        Where it is written, as ``<case>.nii.gz``, if the labels are masks or have other values in their own file.
    """
    if case.label is not None and not case.structures:
        return case.label
    return write(read_reference(case), folder / f"{case.name}.nii.gz")[0]


def numbers_its_own(label: Path) -> bool:
    """Whether a label map may have other values than those of other cases: ``.seg.nrrd`` and DICOM.

    Parameters
    ----------
    label : Path
    """
    return image_format(label) is None or has_suffix(label, SEG_NRRD_SUFFIXES)


def _label_files(case: Case) -> tuple[Path, ...]:
    if not case.label_files:
        raise DatasetError(f"case {case.name} has no label map; training needs one for every case")
    return case.label_files


def _read_merged(case: Case) -> tuple[LabelMap, tuple[Loss, ...]]:
    if not case.masks:
        return merge_layers(number_layers(_renumbered(_read_layers(case), case)))
    _check_masks(case)
    known = dict(case.structures)
    return merge_layers(read_mask_files([(known[name], file) for name, file in case.masks if name in known]))


def _check_masks(case: Case) -> None:
    """Refuse masks of which none or several are one label."""
    known, taken = dict(case.structures), dict[Label, Path]()
    for name, file in case.masks:
        label = known.get(name)
        if label in taken:
            raise DatasetError(
                f"{file} and {taken[label]} are both masks of {label.name!r}; remove or rename one of them"
            )
        if label is not None:
            taken[label] = file
    if not taken:
        names = first_few([name for name, _ in case.masks])
        raise DatasetError(f"{case.masks[0][1].parent}: none of its masks ({names}) is a label of the dataset; add one")


def _read_layers(case: Case) -> tuple[LabelMap, ...]:
    """Read the layers of a label map, or of all DICOM objects of labels in a folder."""
    (path,) = _label_files(case)
    found = look(path)
    if found.image_format is not None:
        return read_label_layers(path)
    objects = [labels.file.path for labels in found.dicom.labels]
    image = case.images[0] if case.images else None
    layers: list[LabelMap] = []
    for place in objects if path.is_dir() and len(objects) > 1 else [path]:
        layers += read_label_layers(place, image=image)
    return tuple(layers)


def _renumbered(layers: Sequence[LabelMap], case: Case) -> Sequence[LabelMap]:
    """Give labels the values of the dataset by their names; if it knows none of the names, the values are its own."""
    known = {name.casefold(): label for name, label in case.structures}
    names = [label.name for layer in layers for label in layer.labels]
    unknown = [name for name in names if name.casefold() not in known]
    if not known or len(unknown) == len(names):
        return layers
    if unknown:
        raise DatasetError(
            f"{case.label}: has the structures {first_few(unknown)}, which the dataset does not know; known are "
            f"{first_few([name for name, _ in case.structures])}; name them in its table of labels, or remove them"
        )
    return renumber(layers, {name: known[name.casefold()] for name in names})

"""NIfTI, NRRD and MetaImage files as entries of an inspection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from volseg.core.labelmap import LabelMap
from volseg.errors import VolsegError
from volseg.files.names import ITK_SUFFIXES, NIFTI_SUFFIXES, NRRD_SUFFIXES, SEG_NRRD_SUFFIXES, case_name, has_suffix
from volseg.inspection.entries import Entry, grid_facts
from volseg.inspection.reader_notes import collected_notes
from volseg.io import count_volumes, read_all, read_grid, read_label_layers
from volseg.io.images.named_volumes import volume_names
from volseg.io.labels import read_header_labels, read_label_table, sidecar_path

Facts = dict[str, dict[str, Any]]


def image_kind(file: Path) -> str | None:
    """Return the format that a file name says; None where it says none of an image file."""
    if has_suffix(file, NIFTI_SUFFIXES):
        return "NIfTI"
    if has_suffix(file, ITK_SUFFIXES):
        return "NRRD" if has_suffix(file, NRRD_SUFFIXES) else "MetaImage"
    return None


def image_entries(file: Path, name: str, *, headers: bool) -> Iterator[Entry]:
    """Give an entry for each volume of a file; one with a problem where it cannot be read."""
    kind = str(image_kind(file))
    with collected_notes() as texts:
        try:
            facts = _facts(file, headers=headers)
        except VolsegError as error:
            facts = {case_name(file): {"problem": str(error)}}
    one = len(facts) == 1
    for key, of_volume in facts.items():
        of_volume |= {"volume": "" if one else key, "series": None if one else key}
        yield Entry(kind, name, notes=tuple(texts), **of_volume)


def _facts(file: Path, *, headers: bool) -> Facts:
    """Return the fields of an `Entry` for each volume, by its name."""
    if has_suffix(file, SEG_NRRD_SUFFIXES):  # small, and its layers are no image
        return {case_name(file): _of_layers(read_label_layers(file))}
    facts = _from_header(file) if headers else _from_voxels(file)
    if contents := _names_of(file):
        facts = {key: of_volume | {"contents": contents} for key, of_volume in facts.items()}
    return facts


def _of_layers(layers: Sequence[LabelMap]) -> dict[str, Any]:
    return {
        **grid_facts(layers[0].grid),
        "dtype": str(layers[0].array.dtype),
        "value_range": (0, max(int(layer.array.max()) for layer in layers)),
        "contents": tuple(label.name for layer in layers for label in layer.labels),
    }


def _from_voxels(file: Path) -> Facts:
    return {
        key: {
            **grid_facts(volume.grid),
            "modality": volume.modality,
            "unit": volume.unit,
            "dtype": str(volume.array.dtype),
            "value_range": (volume.array.min().item(), volume.array.max().item()),
        }
        for key, volume in read_all(file).items()
    }


def _from_header(file: Path) -> Facts:
    if image_kind(file) != "NIfTI":
        return dict.fromkeys(volume_names(file, count_volumes(file)), grid_facts(read_grid(file)))
    from volseg.io.images.nifti_header import read_header

    header = read_header(file)
    scaled = header.dtype.kind == "f" or (header.slope, header.intercept) != (1.0, 0.0)
    dtype = "float32" if scaled else header.dtype.name
    return {name: {**grid_facts(header.grid), "dtype": dtype} for name in header.names}


def _names_of(file: Path) -> tuple[str, ...]:
    """Return the labels' names, where the table beside an image is one of labels, or its header has them."""
    table = sidecar_path(file)
    try:
        labels = read_label_table(table) if table.is_file() else read_header_labels(file)
        return tuple(label.name for label in labels)
    except VolsegError:
        return ()

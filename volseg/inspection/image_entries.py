"""Image files as entries of an inspection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from volseg.core.labelmap import LabelMap
from volseg.errors import VolsegError
from volseg.files.names import SEG_NRRD_SUFFIXES, case_name, has_suffix, image_format
from volseg.inspection.entries import Entry, grid_facts
from volseg.inspection.reader_notes import collected_notes
from volseg.io import read_all, read_label_layers
from volseg.io.images import open_image
from volseg.io.labels import read_header_labels, read_label_table, sidecar_path

Facts = dict[str, dict[str, Any]]


def image_entries(file: Path, name: str, *, headers: bool) -> Iterator[Entry]:
    """Describe each volume of an image file.

    Parameters
    ----------
    file : Path
        The file.
    name : str
        Its name in the entries.
    headers : bool
        Read only the header.

    Yields
    ------
    Entry
        One with a problem if the file cannot be read.
    """
    form = image_format(file)
    with collected_notes() as texts:
        try:
            facts = _facts(file, headers=headers)
        except VolsegError as error:
            facts = {case_name(file): {"problem": str(error)}}
    for volume, of_volume in facts.items():
        if len(facts) > 1:  # a single volume needs no --series
            of_volume |= {"volume": volume, "series": volume}
        yield Entry(form.name if form else "", name, notes=tuple(texts), **of_volume)


def _facts(file: Path, *, headers: bool) -> Facts:
    """Return the fields of an `Entry` for each volume, by its name."""
    if has_suffix(file, SEG_NRRD_SUFFIXES):  # small, and its layers are not an image
        return {case_name(file): _of_layers(read_label_layers(file))}
    facts = _from_header(file) if headers else _from_voxels(file)
    if contents := _names_of(file):
        for of_volume in facts.values():
            of_volume["contents"] = contents
    return facts


def _of_layers(layers: Sequence[LabelMap]) -> dict[str, Any]:
    return {
        **grid_facts(layers[0].grid),
        "dtype": str(layers[0].array.dtype),
        "value_range": (0, max(int(layer.array.max()) for layer in layers)),
        "contents": tuple(label.name for layer in layers for label in layer.labels),
    }


def _from_voxels(file: Path) -> Facts:
    facts = {}
    for name, volume in read_all(file).items():
        facts[name] = {
            **grid_facts(volume.grid),
            "modality": volume.modality,
            "unit": volume.unit,
            "dtype": str(volume.array.dtype),
            "value_range": (volume.array.min().item(), volume.array.max().item()),
        }
    return facts


def _from_header(file: Path) -> Facts:
    image = open_image(file)
    return {name: {**grid_facts(image.grid), "dtype": image.dtype} for name in image.names}


def _names_of(file: Path) -> tuple[str, ...]:
    """Return the names of labels from the label table beside an image or from its header."""
    table = sidecar_path(file)
    try:
        labels = read_label_table(table) if table.is_file() else read_header_labels(file)
        return tuple(label.name for label in labels)
    except VolsegError:
        return ()

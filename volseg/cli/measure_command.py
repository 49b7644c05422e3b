"""`volseg measure`: sizes and positions of labels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.console import Only, Overwrite, Series, list_files, parse_only
from volseg.cli.failures import raise_failures
from volseg.cli.label_scan import LabelScan, read_label_scan
from volseg.errors import InputError, VolsegError, at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volseg.core.labelmap import LabelMap
    from volseg.surface import Measurement

_LOG = logging.getLogger(__name__)


def measure(
    input_: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="Label map file, folder of them or of masks, or output folder of predict."
        ),
    ],
    pieces: Annotated[bool, typer.Option("--pieces", help="Also each separate piece of a label.")] = False,
    labels: Annotated[Path | None, typer.Option(help="Table with names of the labels.")] = None,
    only: Only = None,
    image: LabelScan = None,
    series: Series = None,
    csv: Annotated[Path | None, typer.Option(help="Write a row for each case, label and piece.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the same with all decimals.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure labels in millimetres: volume, area, longest diameters, centre and bounding box.

    Each size is measured on the voxels and on the smoothed surface, side by side. The longest diameter is in space, and
    within one axial slice.
    """
    from volseg.cli.measure_tables import print_measurements, write_csv, write_json
    from volseg.files.atomic import check_free
    from volseg.io import Catalogue, read_label_layers
    from volseg.io.labels import check_labels, find_label_maps, names_of, one_slice_advice

    check_free(filter(None, (csv, json)), overwrite=overwrite)
    chosen = parse_only(only)
    cases = find_label_maps(input_, known=names_of(labels))
    if not cases:
        raise InputError(f"{input_}: no label maps in this folder; expected files such as case.nii.gz")
    found: dict[str, list[Measurement]] = {}
    failures: list[tuple[str, VolsegError]] = []
    for case, path in cases.items():
        try:
            scan = read_label_scan(path, image, series)
            volume = series if image is None else None
            layers = read_label_layers(path, labels=labels, image=scan, only=chosen, series=volume)
            check_labels(layers, path)
            if advice := one_slice_advice(layers, Catalogue(path), image=scan):
                _LOG.warning(advice)
            found[case] = _measured(layers, path, pieces=pieces)
        except VolsegError as error:
            failures.append((case, error))
    if not failures or len(cases) > 1:
        print_measurements(found)
        written = [write_csv(found, csv)] if csv else []
        written += [write_json(found, json)] if json else []
        list_files(written)
    raise_failures(failures, len(cases), "cases could not be measured:")


def _measured(layers: Sequence[LabelMap], path: Path, *, pieces: bool) -> list[Measurement]:
    """Measure the labels of a file, by its probabilities if it has some."""
    from volseg.cases.surfaces import kept_probabilities
    from volseg.surface import measure as measure_labels

    entries: list[Measurement] = []
    for layer in layers:
        probabilities = kept_probabilities(path, layer)
        with at(path):
            entries += measure_labels(layer, pieces=pieces, probabilities=probabilities)
    if not entries:
        raise InputError(f"{path}: every voxel is background; expected at least one label")
    return _once(entries)


def _once(entries: list[Measurement]) -> list[Measurement]:
    """Keep one row for a label that is absent from every layer; drop it if a layer has the label."""
    present: list[Measurement] = []
    absent: dict[tuple[int, str], Measurement] = {}
    for entry in entries:
        if entry.voxels:
            present.append(entry)
        else:
            absent[entry.value, entry.name] = entry
    for entry in present:
        absent.pop((entry.value, entry.name), None)
    return sorted([*present, *absent.values()], key=lambda entry: entry.value)

"""Find the cases of a training set in the layouts that are described in `volseg.datasets`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from volseg.core.labelmap import Label
from volseg.datasets.types import Case, Dataset, Splits, pack_reference
from volseg.errors import DatasetError, UsageError
from volseg.files.names import IMAGE_SUFFIXES, VOXEL_SUFFIXES, case_name, has_suffix
from volseg.files.regular import read_json
from volseg.io import Catalogue
from volseg.io.labels import labels_from_json, mask_files, name_labels, read_label_table, read_table

_Checked = TypeVar("_Checked")

_MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR", "PET": "PT", "PT": "PT"}
_CHANNEL = re.compile(r"(.+)_(\d{4})")


class _Pair(BaseModel):
    image: str
    label: str


class _Decathlon(BaseModel):
    name: str = ""
    modality: dict[str, str] = {"0": "image"}
    labels: dict[str, Any]
    training: list[_Pair]


class _NnUNet(BaseModel):
    name: str = ""
    channel_names: dict[str, str]
    labels: dict[str, Any]
    file_ending: str


class _Fold(BaseModel):
    train: list[str]
    val: list[str]


def read_dataset(path: str | Path, *, images: str | None = None, labels: str | None = None) -> Dataset:
    """Find the cases of a training set; the layouts are listed in `volseg.datasets`.

    Parameters
    ----------
    path : path
        A folder, its ``dataset.json``, or a ``.csv`` (whose relative paths start at its folder).
    images, labels : str, optional
        Two patterns below the folder: one ``*`` in `images`, and in `labels` ``{}``, which is what the star matched and
        the name of the case.

    Returns
    -------
    Dataset
        Images without a label map and label maps without an image are in it; `check_dataset` reports them.

    Raises
    ------
    DatasetError
        No such layout, or a list that is damaged or leads outside the folder.
    InputError
        A file cannot be read, or a table of labels is wrong.
    UsageError
        Only one pattern, or one that cannot be used.
    """
    path = Path(path)
    if images is not None or labels is not None:
        return _read_patterns(path, images, labels)
    if path.is_file() and has_suffix(path, (".csv",)):
        return _read_csv(path)
    root = path.parent if path.name == "dataset.json" else path
    if (root / "dataset.json").is_file():
        return _read_json_dataset(root)
    if (root / "imagesTr").is_dir() and (root / "labelsTr").is_dir():
        return _without_json(root, case_name(root), _pair_folders(root))
    if not path.exists():
        raise DatasetError(f"{path}: no such folder or file; check the path")
    raise DatasetError(
        f"{path}: is no dataset; expected dataset.json, folders imagesTr and labelsTr, a CSV file with the columns "
        "image and label, or two patterns (--images, --labels)"
    )


def _read_json_dataset(root: Path) -> Dataset:
    path = root / "dataset.json"
    content = read_json(path)
    if isinstance(content, dict) and "channel_names" in content:
        nnunet = _validated(_NnUNet, content, path)
        cases = _pair_folders(root, ending=nnunet.file_ending)
        return _dataset(root, nnunet.name, cases, labels_from_json(nnunet.labels, path), _ordered(nnunet.channel_names))
    if isinstance(content, dict) and "training" in content:
        decathlon = _validated(_Decathlon, content, path)
        cases = _listed_cases(decathlon.training, root)
        return _dataset(
            root, decathlon.name, cases, labels_from_json(decathlon.labels, path), _ordered(decathlon.modality)
        )
    raise DatasetError(f"{path}: expected 'training' (Medical Segmentation Decathlon) or 'channel_names' (nnU-Net v2)")


def _listed_cases(pairs: Sequence[_Pair], root: Path) -> list[Case]:
    outside = [text for pair in pairs for text in (pair.image, pair.label) if not _stays_inside(text)]
    if outside:
        raise DatasetError(
            f"{root / 'dataset.json'}: {outside[0]!r} leads outside the dataset's folder; move it inside"
        )
    shown = (pair for pair in pairs if _is_shown(PurePosixPath(pair.image).name))
    return [Case(case_name(pair.image), (root / pair.image,), root / pair.label) for pair in shown]


def _stays_inside(text: str) -> bool:
    path = PureWindowsPath(text)  # understands both kinds of slash, and drives
    return not (path.anchor or ".." in path.parts)


def _pair_folders(root: Path, *, ending: str = "") -> list[Case]:
    """Pair imagesTr with labelsTr by case name; with an `ending` (nnU-Net) every image carries its channel number.

    Elsewhere ``case_0001`` may be the name of a case: numbers are channels only where there is a ``_0000`` that has no
    label map for it alone.
    """
    images = [(_stem(path, ending), path) for path in _entries(root / "imagesTr", ending)]
    labels = {_stem(path, ending): path for path in _entries(root / "labelsTr", ending)}
    first = {stem for stem, _ in images} - labels.keys()
    channels: dict[str, dict[str, Path]] = {}
    for stem, path in images:
        numbered = _CHANNEL.fullmatch(stem)
        is_channel = numbered and (ending or f"{numbered[1]}_0000" in first)
        name, channel = (numbered[1], numbered[2]) if numbered and is_channel else (stem, "")
        channels.setdefault(name, {})[f"{channel} {path.name}"] = path
    return [
        Case(name, tuple(path for _, path in sorted(channels.get(name, {}).items())), labels.get(name))
        for name in sorted(channels.keys() | labels.keys())
    ]


def _entries(folder: Path, ending: str) -> list[Path]:
    """List the images in a folder: files with the ending, or any that a door may read (a folder may be DICOM)."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; expected the images or label maps of the dataset there")
    shown = sorted(path for path in folder.iterdir() if _is_shown(path.name))
    if ending:
        return [path for path in shown if path.name.endswith(ending)]
    known = (*IMAGE_SUFFIXES, ".dcm")
    return [
        path for path in shown if path.is_dir() or (has_suffix(path, known) and not has_suffix(path, VOXEL_SUFFIXES))
    ]


def _stem(path: Path, ending: str) -> str:
    return path.name.removesuffix(ending) if ending else case_name(path)


def _read_csv(path: Path) -> Dataset:
    columns, rows = read_table(path, delimiter=",")
    channels = _channel_columns(columns)
    if not channels or "label" not in columns:
        raise DatasetError(
            f"{path}: has the columns {columns}; expected image (or image_0, image_1, ...), label, and case"
        )
    cases, problems = [], []
    for number, row in rows:
        if empty := [column for column in channels if not row[column]]:
            problems.append(f"line {number}: {', '.join(empty)} is empty")
            continue
        images = tuple(path.parent / row[column] for column in channels)
        label = path.parent / row["label"] if row["label"] else None
        cases.append(Case(row.get("case") or case_name(images[0]), images, label))
    if problems:
        raise DatasetError(f"{path}: {'; '.join(problems)}; expected the path of a scan")
    return _without_json(path.parent, case_name(path), cases, channels)


def _channel_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of images in the order of the channels; none where they are not numbered from 0."""
    found = [column for column in columns if re.fullmatch(r"image(_\d+)?", column)]
    numbered = [f"image_{n}" for n in range(len(found))]
    if found == ["image"]:
        return found
    return numbered if sorted(found) == sorted(numbered) else []


def _read_patterns(root: Path, images: str | None, labels: str | None) -> Dataset:
    if images is None or labels is None:
        raise UsageError("one pattern is given; give both, such as images='images/*.nii.gz', labels='labels/{}.nii.gz'")
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; patterns are searched below a folder")
    if images.count("*") != 1 or "**" in images or "{}" not in labels or "*" in labels:
        raise UsageError(f"patterns are {images!r} and {labels!r}; expected one * in images and {{}} in labels")
    image_paths = _matches(root, images)
    label_paths = _matches(root, labels)
    cases = [
        Case(name, (image_paths[name],) if name in image_paths else (), label_paths.get(name))
        for name in sorted(image_paths.keys() | label_paths.keys())
    ]
    return _without_json(root, case_name(root), cases)


def _matches(root: Path, pattern: str) -> dict[str, Path]:
    """Return the paths that a pattern with equal gaps (``*`` or ``{}``) matches, by what fills the gap."""
    gap = re.compile(r"\*|\{\}")
    try:
        candidates = sorted(root.glob(gap.sub("*", pattern)))
    except (ValueError, NotImplementedError) as error:
        raise UsageError(f"pattern {pattern!r} cannot be used ({error}); expected one below the folder") from error
    first, *others = (re.escape(text) for text in gap.split(PurePosixPath(pattern).as_posix()))
    matcher = re.compile(first + "(?P<gap>[^/]+)" + "(?P=gap)".join(others))
    found = ((matcher.fullmatch(path.relative_to(root).as_posix()), path) for path in candidates)
    return {match["gap"]: path for match, path in found if match and _is_shown(match["gap"])}


def _without_json(root: Path, name: str, cases: Sequence[Case], channels: Sequence[str] = ()) -> Dataset:
    """Make a dataset whose labels no ``dataset.json`` names."""
    count = max((len(case.images) for case in cases), default=0)
    channels = channels or ([f"image_{n}" for n in range(count)] if count > 1 else ["image"])
    table = root / "labels.tsv"
    if table.is_file():
        return _dataset(root, name, cases, read_label_table(table), channels)
    packed, labels = _find_labels(cases)
    return _dataset(root, name, packed, labels, channels)


def _find_labels(cases: Sequence[Case]) -> tuple[list[Case], tuple[Label, ...]]:
    """Return the cases with their label maps packed, and the labels that occur in them."""
    packed: list[Case] = []
    labels: dict[int, Label] = {}
    structures: set[str] = set()
    for case in cases:
        if case.label is None or not case.label.exists():
            packed.append(case)
        elif masks := mask_files(Catalogue(case.label)):
            # Their values are known only when the structures of all cases are.
            structures.update(masks)
            packed.append(case)
        else:
            read, label_map = pack_reference(case)
            packed.append(read)
            _add_labels(labels, label_map.labels, case.label)
    for label in name_labels(sorted(structures), tuple(labels.values())).values():
        labels[label.value] = label
    return packed, tuple(labels[value] for value in sorted(labels))


def _add_labels(known: dict[int, Label], found: Iterable[Label], path: Path) -> None:
    for label in found:
        other = known.setdefault(label.value, label)
        if other.name != label.name:
            raise DatasetError(
                f"{path}: label {label.value} is {label.name!r}, elsewhere {other.name!r}; expected one name"
            )


def _dataset(
    root: Path, name: str, cases: Sequence[Case], labels: tuple[Label, ...], channel_names: Sequence[str]
) -> Dataset:
    modalities = tuple(_MODALITIES.get(channel.upper()) for channel in channel_names)
    ordered = []
    for case in sorted(cases, key=lambda case: case.name):
        if case.label is not None and case.label.is_dir():
            case = replace(case, masks=labels, packed=None)  # it is read with other values from now on
        ordered.append(case)
    splits = _read_splits(root)
    return Dataset(name or case_name(root), tuple(ordered), labels, tuple(channel_names), modalities, splits, root)


def _read_splits(root: Path) -> Splits | None:
    path = root / "splits_final.json"
    if not path.is_file():
        return None
    folds = _validated(list[_Fold], read_json(path), path)
    return tuple((tuple(fold.train), tuple(fold.val)) for fold in folds)


def _validated(kind: type[_Checked], content: Any, path: Path) -> _Checked:
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise DatasetError(f"{path}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    problems = [f"{'.'.join(map(str, p['loc']))}: {p['msg']} (got {p['input']!r:.80})" for p in error.errors()]
    return "; ".join(problems[:5]) + ("; ..." if len(problems) > 5 else "")


def _ordered(channels: Mapping[str, str]) -> list[str]:
    return [channels[key] for key in sorted(channels, key=lambda key: (len(key), key))]


def _is_shown(name: str) -> bool:
    return not name.startswith((".", "_"))

"""Find the cases of a training set in the layouts that are described in `volseg.datasets`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from volseg.core.labelmap import Label
from volseg.datasets.labelling import label_by_content, label_by_table
from volseg.datasets.pairs import is_shown, pair_case_folders, pair_folders, pair_table
from volseg.datasets.patients import find_patients
from volseg.datasets.patterns import pair_patterns
from volseg.datasets.types import Case, Dataset, Splits
from volseg.errors import DatasetError, UsageError
from volseg.files.names import case_name, has_suffix
from volseg.files.regular import read_json
from volseg.io.labels import MASKS_FOLDER, labels_from_json, read_label_table

_Checked = TypeVar("_Checked")

_MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR", "PET": "PT", "PT": "PT"}


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
        the name of the case. A ``*`` in `labels` stands for the structures of masks.

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
    if images is not None and labels is not None:
        return _without_json(path, case_name(path), pair_patterns(path, images, labels))
    if images is not None or labels is not None:
        raise UsageError("one pattern is given; give both, such as images='images/*.nii.gz', labels='labels/{}.nii.gz'")
    if path.is_file() and has_suffix(path, (".csv",)):
        cases, channels = pair_table(path)
        return _without_json(path.parent, case_name(path), cases, channels)
    return _read_folder(path)


def _read_folder(path: Path) -> Dataset:
    root = path.parent if path.name == "dataset.json" else path
    if (root / "dataset.json").is_file():
        return _read_json_dataset(root)
    if (root / "imagesTr").is_dir() and (root / "labelsTr").is_dir():
        return _without_json(root, case_name(root), pair_folders(root))
    if cases := pair_case_folders(root):
        return _without_json(root, case_name(root), cases)
    if not path.exists():
        raise DatasetError(f"{path}: no such folder or file; check the path")
    raise DatasetError(
        f"{path}: is no dataset; expected dataset.json, folders imagesTr and labelsTr, a folder for each case with a "
        f"scan and its masks in {MASKS_FOLDER}, a CSV file with the columns image and label, or two patterns "
        "(--images, --labels)"
    )


def _read_json_dataset(root: Path) -> Dataset:
    path = root / "dataset.json"
    content = read_json(path)
    if isinstance(content, dict) and "channel_names" in content:
        nnunet = _validated(_NnUNet, content, path)
        labels = labels_from_json(nnunet.labels, path)
        cases = label_by_table(pair_folders(root, ending=nnunet.file_ending), labels)
        return _dataset(root, nnunet.name, cases, labels, _ordered(nnunet.channel_names))
    if isinstance(content, dict) and "training" in content:
        decathlon = _validated(_Decathlon, content, path)
        labels = labels_from_json(decathlon.labels, path)
        cases = label_by_table(_listed_cases(decathlon.training, root), labels)
        return _dataset(root, decathlon.name, cases, labels, _ordered(decathlon.modality))
    raise DatasetError(f"{path}: expected 'training' (Medical Segmentation Decathlon) or 'channel_names' (nnU-Net v2)")


def _listed_cases(pairs: Sequence[_Pair], root: Path) -> list[Case]:
    cases = []
    for pair in pairs:
        for text in (pair.image, pair.label):
            if not _stays_inside(text):
                raise DatasetError(
                    f"{root / 'dataset.json'}: {text!r} leads outside the dataset's folder; move it inside"
                )
        if is_shown(PurePosixPath(pair.image).name):
            cases.append(Case(case_name(pair.image), (root / pair.image,), root / pair.label))
    return cases


def _stays_inside(text: str) -> bool:
    path = PureWindowsPath(text)  # understands both kinds of slash, and drives
    return not (path.anchor or ".." in path.parts)


def _without_json(root: Path, name: str, cases: Sequence[Case], channels: Sequence[str] = ()) -> Dataset:
    """Make a dataset whose labels no ``dataset.json`` names."""
    count = max((len(case.images) for case in cases), default=0)
    if not channels and count > 1:
        channels = [f"image_{number}" for number in range(count)]
    channels = channels or ["image"]
    table = root / "labels.tsv"
    if table.is_file():
        labels = read_label_table(table)
        return _dataset(root, name, label_by_table(cases, labels), labels, channels)
    labelled, labels = label_by_content(cases)
    return _dataset(root, name, labelled, labels, channels)


def _dataset(
    root: Path, name: str, cases: Sequence[Case], labels: tuple[Label, ...], channel_names: Sequence[str]
) -> Dataset:
    modalities = tuple(_MODALITIES.get(channel.upper()) for channel in channel_names)
    ordered = sorted(find_patients(cases, root), key=lambda case: case.name)
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
    problems = []
    for problem in error.errors():
        place = ".".join(map(str, problem["loc"]))
        problems.append(f"{place}: {problem['msg']} (got {problem['input']!r:.80})")
    return "; ".join(problems[:5]) + ("; ..." if len(problems) > 5 else "")


def _ordered(channels: Mapping[str, str]) -> list[str]:
    """Return the names of numbered channels in the order of their numbers."""
    return [channels[key] for key in sorted(channels, key=lambda key: (len(key), key))]

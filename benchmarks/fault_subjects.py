"""Subjects of the disturbances: commands of volseg, and the states before and after them."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import torch
from fault_process import count_events, run

import volseg
from volseg.config import parse_config
from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.io.dicom.writing import write_dicom_series
from volseg.network.file import Model, make_generator, save_model
from volseg.phantoms import make_ct_phantom

GRID = Grid.from_spacing((40, 36, 12), (7, 7, 12))
Digests = dict[str, str]


@dataclass(frozen=True)
class Command:
    """A command line, and the place of its result.

    Parameters
    ----------
    line : str
        For volseg, in a folder made by `make_world`.
    result : str
        The folder of a case or a series, or a file.
    before : str
        Command line that ran before.
    pair : str
        Command line of a second process; default `line`.
    """

    name: str
    line: str
    result: str
    before: str = ""
    pair: str = ""


COMMANDS = (
    Command(
        "predict",
        "predict scan.nii.gz -m one -o out --mesh stl --probabilities",
        "out/scan",
        pair="predict other/scan.nii.gz -m one -o out",
    ),
    Command(
        "predict --overwrite",
        "predict scan.nii.gz -m two -o out --overwrite --mesh ply",
        "out/scan",
        before="predict scan.nii.gz -m one -o out --mesh stl,obj --probabilities",
        pair="predict other/scan.nii.gz -m one -o out",
    ),
    Command(
        "predict, --mesh later",
        "predict scan.nii.gz -m one -o out --mesh stl,vtm",
        "out/scan",
        before="predict scan.nii.gz -m one -o out",
    ),
    Command(
        "predict --dicom",
        "predict series -m one -o out --dicom seg,rtstruct --overwrite",
        "out/{series}",
        before="predict series -m two -o out --dicom seg",
    ),
    Command(
        "convert to .seg.nrrd",
        "convert two.nii.gz a.seg.nrrd --overwrite",
        "a.seg.nrrd",
        before="convert one.nii.gz a.seg.nrrd",
    ),
    Command(
        "convert to DICOM",
        "convert scan.nii.gz new --overwrite --modality CT",
        "new",
        before="convert other/scan.nii.gz new --modality CT",
    ),
    Command("mesh to one file", "mesh two.nii.gz -o a.ply --overwrite", "a.ply", before="mesh one.nii.gz -o a.ply"),
)


def make_world(folder: Path) -> None:
    """Write scans and models; and in the output folder a finished case and a file that no command may touch."""
    for number, name in enumerate(("scan", "other/scan", "bystander")):
        write_scan(folder / f"{name}.nii.gz", number)
    write_dicom_series(volseg.read(folder / "scan.nii.gz"), folder / "series", description="made up")
    axial = {"planes": ["axial"], "spacing_mm": [7, 7, 12], "normalisation": [{"kind": "zscore"}], "neighbours": 0}
    config = parse_config({"preparation": axial, "network": {"width": 2, "levels": 1}})
    labels = tuple(Label(value, f"label {value}", (20 * value, 200, 90)) for value in (1, 2))
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        network = make_generator(config, channels=1, labels=2)
        save_model(Model(config, labels, ("CT",), {"axial.0": network}), folder / name / "model.safetensors")
        run(folder, f"predict scan.nii.gz -m {name} -o {name}-out").check()
        shutil.copy(folder / f"{name}-out" / "scan" / "labels.nii.gz", folder / f"{name}.nii.gz")
        shutil.copy(folder / f"{name}-out" / "scan" / "labels.tsv", folder / f"{name}.tsv")
        shutil.rmtree(folder / f"{name}-out")
    run(folder, "predict bystander.nii.gz -m one -o out --mesh stl").check()
    (folder / "out" / "notes.txt").write_text("mine", encoding="utf-8")


def write_scan(path: Path, seed: int) -> None:
    volseg.write(make_ct_phantom(seed=seed, grid=GRID).volume, path)


def digest(path: Path) -> str:
    """Digest of a file; of a DICOM object without its identifiers and times, which are new each time."""
    if path.suffix != ".dcm":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    dataset = pydicom.dcmread(path)
    contours = [
        str(contour.ContourData)
        for structure in dataset.get("ROIContourSequence", ())
        for contour in structure.get("ContourSequence", ())
    ]
    return hashlib.sha256(dataset.get("PixelData", b"") + repr(contours).encode()).hexdigest()


def state_of(path: Path) -> Digests | None:
    """Return the digests of a result's files, or None without a result; run.json is left out, as it has times."""
    if path.is_file():
        return {"": digest(path)}
    if not path.is_dir():
        return None
    files = (file for file in sorted(path.rglob("*")) if file.is_file() and file.name != "run.json")
    return {file.relative_to(path).as_posix(): digest(file) for file in files}


def is_as_recorded(case: Path) -> bool:
    """Whether a case's files are those of its run.json, byte for byte."""
    record = json.loads((case / "run.json").read_text(encoding="utf-8"))
    found = {f.relative_to(case).as_posix(): f for f in case.rglob("*") if f.is_file() and f.name != "run.json"}
    digests = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in found.items()}
    return digests == {name: entry["sha256"] for name, entry in record["written"].items()}


def hidden(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob(".volseg-*"))


@dataclass
class Subject:
    """A command, with the states before and after it, how long it takes and how far files grow."""

    command: Command
    template: Path
    old: Digests | None = None
    new: Digests | None = None
    seconds: float = 0.0
    bytes: int = 0
    events: int = 0
    order: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def next_event(self, chance: random.Random) -> int:
        """Return the number of a file event at which it has not been killed, as long as there are such."""
        if not self.order:
            self.order = chance.sample(range(self.events), self.events)
        self.seen.add(self.order[-1])
        return self.order.pop()

    @property
    def coverage(self) -> str:
        return f"{len(self.seen)} of {self.events}"

    def result(self, folder: Path) -> Path:
        series = next(iter((self.template / "out").glob("made_up-*")), Path("none")).name
        return folder / self.command.result.format(series=series)


def make_subject(command: Command, world: Path, template: Path, scratch: Path) -> Subject:
    shutil.copytree(world, template)
    if command.before:
        run(template, command.before).check()
    subject = Subject(command, template)
    subject.old = state_of(subject.result(template))
    folder = scratch / "undisturbed"
    shutil.copytree(template, folder)
    start = time.monotonic()
    run(folder, command.line).check()
    subject.seconds = time.monotonic() - start
    result = subject.result(folder)
    subject.new = state_of(result)
    subject.bytes = max(file.stat().st_size for file in [result, *result.rglob("*")])
    if subject.new is None or subject.old == subject.new:
        raise SystemExit(f"cannot begin: {command.name} changes nothing")
    shutil.rmtree(folder)
    shutil.copytree(template, folder)
    subject.events = count_events(folder, command.line)
    shutil.rmtree(folder)
    return subject

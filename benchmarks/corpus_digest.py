"""The contents of every file and folder of a corpus as volseg reads them, and the changes since an older digest.

    python benchmarks/corpus_digest.py FOLDER [--json OUT] [--against OLD.json]

Each folder that holds files, and each file, is read by `volseg.read`, `read_all`, `read_labels` and `inspect` (headers
alone). If more than four files of a folder have the same name apart from digits, as the slices of a series have, only
the folder is read. Labels that were made on a scan of the corpus are also read on that scan, and verified. The digest
has grids, types, units, labels, the SHA-256 of the values and all warnings, or the type and text of the error. Paths in
it are relative to FOLDER. To compare two versions of the code, run this file with PYTHONPATH at each of them. The exit
code is 1 if a digest differs from the older one.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import logging
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import volseg

MOST_ALIKE = 4
Reader = Callable[[Path], Any]


class Collector(logging.Handler):
    """Keeps the text of every message; loggers' names are left out, as they change where a module moves."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.levelname.lower()}: {record.getMessage()}")


def entries(root: Path) -> Iterator[Path]:
    """Yield the folders that hold files, and the files that are read on their own."""
    for folder in (root, *sorted(path for path in root.rglob("*") if path.is_dir())):
        files = sorted(path for path in folder.iterdir() if path.is_file())
        alike = Counter(pattern(file) for file in files)
        if files:
            yield folder
        yield from (file for file in files if alike[pattern(file)] <= MOST_ALIKE)


def pattern(file: Path) -> str:
    return re.sub(r"\d+", "0", file.name)


def digest_of(root: Path) -> dict[str, dict[str, Any]]:
    """Read everything; the keys are paths relative to the corpus, then the names of the functions."""
    readers: dict[str, Reader] = {
        "read": lambda path: volume_digest(volseg.read(path)),
        "read_all": lambda path: {name: volume_digest(found) for name, found in volseg.read_all(path).items()},
        "read_labels": lambda path: label_digest(volseg.read_labels(path)),
        "inspect": lambda path: [dataclasses.asdict(entry) for entry in volseg.inspect(path, headers=True).entries],
    }
    found = {}
    for path in entries(root):
        name = path.relative_to(root).as_posix()
        found[name] = {function: outcome(reader, path, root) for function, reader in readers.items()}
    for name, scan in label_scans(root, found):
        found[name] |= {
            f"read_labels on {scan}": outcome(
                lambda path, image=root / scan: label_digest(volseg.read_labels(path, image=image)), root / name, root
            ),
            f"verify on {scan}": outcome(
                lambda path, image=root / scan: volseg.verify(image, path).to_dict(), root / name, root
            ),
        }
    return found


def label_scans(root: Path, digest: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Find the files of labels that refer to a series in one of the folders, and that folder, by their inspections."""
    scans, labels = {}, []
    for name, of_path in digest.items():
        for entry in of_path["inspect"].get("result", ()):
            if (root / name).is_file():
                labels += [(name, uid) for uid in entry["refers_to"]]
            elif entry["kind"] == "DICOM series":  # the innermost folder comes last
                scans[str(entry["series"]).partition("#")[0]] = name
    return [(name, scans[uid]) for name, uid in labels if uid in scans]


def outcome(reader: Reader, path: Path, root: Path) -> dict[str, Any]:
    """Return the result or the error of a function for a path, and its warnings."""
    collector, log = Collector(), logging.getLogger("volseg")
    log.addHandler(collector)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = {"result": reader(path)}
        except Exception as error:  # noqa: BLE001 - any error is the result of reading the file
            result = {"error": f"{type(error).__name__}: {error}"}
        finally:
            log.removeHandler(collector)
    told = collector.texts + [f"{entry.category.__name__}: {entry.message}" for entry in caught]
    text = json.dumps(result | {"warnings": told}, default=str)
    plain: dict[str, Any] = json.loads(text.replace(json.dumps(f"{root}/")[1:-1], "").replace(str(root), "."))
    return plain


def volume_digest(volume: volseg.Volume) -> dict[str, Any]:
    about = {"name": volume.name, "modality": volume.modality, "unit": volume.unit}
    return about | grid_digest(volume.grid) | values_digest(volume.array)


def label_digest(labelmap: volseg.LabelMap) -> dict[str, Any]:
    labels = [dataclasses.asdict(label) for label in labelmap.labels]
    return {"labels": labels} | grid_digest(labelmap.grid) | values_digest(labelmap.array)


def grid_digest(grid: volseg.Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "affine": grid.affine.tolist()}


def values_digest(array: NDArray[Any]) -> dict[str, Any]:
    """Hash the values in C order and little endian, whatever their order in memory."""
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return {"dtype": str(array.dtype), "sha256": hashlib.sha256(plain.tobytes()).hexdigest()}


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Yield a line for each value that differs, with its place."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*old, *(key for key in new if key not in old)):
            where = f"{place} > {key}" if place else str(key)
            yield from differences(old.get(key, "(absent)"), new.get(key, "(absent)"), where)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{place}[{number}]")
    elif old != new:
        yield f"{place}\n  - {old}\n  + {new}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the digest here")
    parser.add_argument("--against", type=Path, metavar="OLD", help="an older digest, to list what differs")
    options = parser.parse_args()
    logging.getLogger("volseg").setLevel(logging.INFO)
    digest = digest_of(options.folder.resolve())
    refused = sum("error" in outcome for entry in digest.values() for outcome in entry.values())
    print(f"{len(digest)} files and folders, {refused} of {sum(map(len, digest.values()))} readings refused")
    if options.json:
        options.json.write_text(json.dumps(digest, indent=1), encoding="utf-8")
    if not options.against:
        return 0
    lines = list(differences(json.loads(options.against.read_text(encoding="utf-8")), digest))
    print(f"{len(lines)} differences from {options.against}", *lines, sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())

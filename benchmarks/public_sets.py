"""Read files of a public repository, and write cases as a dataset in nnU-Net's layout; used by the ``prepare_*.py``.

A repository is a checkout, or a git directory without a work tree, of which the newest commit is read.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Repository:
    """A public repository on this disk."""

    root: Path

    @property
    def has_files(self) -> bool:
        return (self.root / ".git").exists() or not (self.root / "objects").is_dir()

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted."""
        if self.has_files:
            return sorted(path.name for path in (self.root / folder).iterdir() if path.is_file())
        listed = self._git("ls-tree", f"HEAD:{folder}").decode().splitlines()
        return sorted(line.split("\t")[1] for line in listed if line.split()[1] == "blob")

    def read(self, path: str) -> bytes:
        if self.has_files:
            return (self.root / path).read_bytes()
        return self._git("cat-file", "blob", f"HEAD:{path}")

    def read_nifti(self, path: str) -> nib.Nifti1Image:
        return nib.Nifti1Image.from_bytes(gzip.decompress(self.read(path)))

    def _git(self, *words: str) -> bytes:
        return subprocess.run(["git", "-C", str(self.root), *words], check=True, capture_output=True).stdout


class SetWriter:
    """Writes ``imagesTr``, ``labelsTr`` and ``dataset.json`` below a new folder; a case is one scan of one channel."""

    def __init__(self, folder: Path, labels: Mapping[str, int]) -> None:
        self.folder, self.labels, self.count = folder, dict(labels), 0
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir(parents=True)

    def add(
        self, name: str, image: NDArray[np.generic], labels: NDArray[np.uint8], affine: NDArray[np.float64]
    ) -> None:
        """Write a case; the affine is in mm, as NIfTI's: to the right, to the front, upwards."""
        for values, path in ((image, f"imagesTr/{name}_0000.nii.gz"), (labels, f"labelsTr/{name}.nii.gz")):
            nifti = nib.Nifti1Image(values, affine)
            nifti.header.set_xyzt_units("mm")
            nifti.set_qform(affine, 1)
            nifti.set_sform(affine, 1)
            nifti.to_filename(self.folder / path)
        self.count += 1

    def finish(self) -> None:
        content = {
            "name": self.folder.name,
            "channel_names": {"0": "MR"},
            "labels": {"background": 0, **self.labels},
            "numTraining": self.count,
            "file_ending": ".nii.gz",
        }
        (self.folder / "dataset.json").write_text(json.dumps(content, indent=2) + "\n")
        print(f"{self.folder}: {self.count} cases")


def arguments(description: str | None) -> tuple[Repository, Path]:
    """Return the repository and the folder to write that are named on the command line."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("repository", type=Path, help="checkout, or git directory, of the public repository")
    parser.add_argument("folder", type=Path, help="folder to write; it must not exist")
    options = parser.parse_args()
    if options.folder.exists():
        parser.error(f"{options.folder} exists; name a new folder")
    return Repository(options.repository), options.folder

"""Write the dataset "brain": deep structures of the brain in 35 T1 MR scans of 30 people, in voxels of 1 mm.

    python benchmarks/prepare_brain.py REPOSITORY FOLDER

REPOSITORY is github.com/muschellij2/malf.templates, which has scans of OASIS with manual labels by Neuromorphometrics
(MICCAI 2012 workshop on multi-atlas labelling). The scans are without skull, and what was cut away was told by the
labels, so the outer border of the brain is visible in them. That is why the cortex, the outside of the cerebellum and
the brain stem are background here. Left and right are one label. Five people were scanned twice: both scans are named
after the person, as sub-0101_ses-2.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
import zipfile

import numpy as np
from public_sets import Repository, SetWriter, arguments

FOLDER = "inst/extdata"
# Name, and the values of the source's table MICCAI-Challenge-2012-Label-Information.csv.
STRUCTURES = {
    "cerebral_white_matter": (44, 45),
    "cerebellar_white_matter": (40, 41),
    "lateral_ventricle": (49, 50, 51, 52),
    "third_ventricle": (4,),
    "fourth_ventricle": (11,),
    "thalamus": (59, 60),
    "caudate": (36, 37),
    "putamen": (57, 58),
    "pallidum": (55, 56),
    "hippocampus": (47, 48),
    "amygdala": (31, 32),
    "accumbens": (23, 30),
    "ventral_diencephalon": (61, 62),
}
MARGIN = 2
_XLSX = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_people(repository: Repository) -> dict[str, str]:
    """Return the name of the case for each scan: the person, and which scan of the person."""
    with zipfile.ZipFile(io.BytesIO(repository.read("inst/demographics.xlsx"))) as archive:
        texts = ["".join(item.itertext()) for item in ElementTree.fromstring(archive.read("xl/sharedStrings.xml"))]
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    people = {}
    for row in sheet.iter(f"{_XLSX}row"):
        cells = []
        for cell in row:
            value = cell.findtext(f"{_XLSX}v") or ""
            cells.append(texts[int(value)] if cell.get("t") == "s" and value else value)
        if person := re.fullmatch(r"OAS1_(\d{4})", cells[2]):
            session = 2 if "2nd Scan" in cells else 1
            people[cells[0]] = f"sub-{person[1]}_ses-{session}"
    return people


def merge(source: np.ndarray) -> np.ndarray:
    labels = np.zeros(source.shape, np.uint8)
    for value, parts in enumerate(STRUCTURES.values(), 1):
        labels[np.isin(source, parts)] = value
    return labels


def main() -> None:
    repository, folder = arguments(__doc__)
    people = read_people(repository)
    writer = SetWriter(folder, {name: value for value, name in enumerate(STRUCTURES, 1)})
    for name in repository.names(FOLDER):
        if not name.endswith("_SS.nii.gz"):
            continue
        number = name.removesuffix("_SS.nii.gz")
        scan = repository.read_nifti(f"{FOLDER}/{name}")
        source = repository.read_nifti(f"{FOLDER}/{number}_glm.nii.gz")
        if scan.shape != source.shape or not np.allclose(scan.affine, source.affine):
            raise ValueError(f"{number}: the labels are on another grid than the scan")
        values, labels = np.asarray(scan.dataobj), merge(np.asarray(source.dataobj))
        inside = np.argwhere(values)
        low = np.maximum(inside.min(0) - MARGIN, 0)
        box = tuple(slice(a, b) for a, b in zip(low, inside.max(0) + MARGIN + 1, strict=True))
        affine = scan.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ low
        writer.add(people[number], values[box], labels[box], affine)
    writer.finish()


if __name__ == "__main__":
    main()

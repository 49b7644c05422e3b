"""Training sets: which files are the channels and the label map of which case.

Six layouts are read; `read_dataset` tells them apart::

    Medical Segmentation Decathlon   folder with dataset.json that lists "training" pairs; 4D images hold the channels
    nnU-Net v2                       folder with dataset.json ("channel_names"), imagesTr/<case>_0000.<ending>, labelsTr
    plain folder                     imagesTr/<case>.<any> or <case>_0000.<any>, labelsTr/<case>.<any>
    a folder for each case           <case>/ct.nii.gz (any name) and <case>/segmentations/<structure>.nii.gz
    CSV                              columns image (or image_0, image_1, ...), label, optionally case and patient
    patterns                         images="images/*.nii.gz", labels="labels/{}.nii.gz"

Everywhere in place of a label map there may be a folder of masks, a file for each structure that is called like it; the
name of the case may stand before or behind. A CSV file may have a column for each structure in place of ``label``, and
a pattern of labels a ``*`` for the structure: ``masks/{}_*.nii.gz``. A folder of DICOM objects of labels is read with
the case's scan. `volseg.datasets.labelling` says which values labels have, `volseg.datasets.structures` which names are
the same, and `volseg.core.merging` which structure has a voxel that several claim.

Where no ``dataset.json`` names the labels, ``labels.tsv`` at the root does (see `volseg.io.labels.table`); without that
every label map is decoded to see which values there are, and kept packed in memory. Files and folders whose names
start with ``.`` or ``_`` are left out. ``splits_final.json`` at the root gives the folds.
Without it no two scans of one patient are in two folds, as far as the patient is known (`volseg.datasets.patients`).

The modules, in the order in which a dataset is made: `layouts` chooses among `pairs` and `patterns`, which find the
files of each case; `labelling` finds the labels, `structures` compares their names; `references` reads and merges,
`packed` keeps; `check` reports all that is wrong at once, `masks_report` what merging costs; `patients` and `splits`
make folds.
"""

from volseg.datasets.check import check_dataset
from volseg.datasets.layouts import read_dataset
from volseg.datasets.patients import describe_patients, forget_patients
from volseg.datasets.references import label_map_file, read_reference
from volseg.datasets.splits import count_folds, describe_shared_patients, split
from volseg.datasets.types import Case, Dataset, Patient, Splits, read_images

__all__ = [
    "Case",
    "Dataset",
    "Patient",
    "Splits",
    "check_dataset",
    "count_folds",
    "describe_patients",
    "describe_shared_patients",
    "forget_patients",
    "label_map_file",
    "read_dataset",
    "read_images",
    "read_reference",
    "split",
]

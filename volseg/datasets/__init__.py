"""Training sets: which files are the channels and the label map of which case.

Five layouts are read; `read_dataset` tells them apart::

    Medical Segmentation Decathlon   folder with dataset.json that lists "training" pairs; 4D images hold the channels
    nnU-Net v2                       folder with dataset.json ("channel_names"), imagesTr/<case>_0000.<ending>, labelsTr
    plain folder                     imagesTr/<case>.<any> or <case>_0000.<any>, labelsTr/<case>.<any>
    CSV                              columns image (or image_0, image_1, ...), label, optionally case and patient
    patterns                         images="images/*.nii.gz", labels="labels/{}.nii.gz"

A label map may be a folder of masks, one a structure and called like it (`volseg.io.labels.mask_folder`); its labels
then have the values that their names have in the dataset.

Where no ``dataset.json`` names the labels, ``labels.tsv`` at the root does (see `volseg.io.labels.table`); without that
every label map is decoded to see which values there are, and kept packed in memory. Files and folders whose names
start with ``.`` or ``_`` are left out. ``splits_final.json`` at the root gives the folds.
Without it no two scans of one patient are in two folds, as far as the patient is known (`volseg.datasets.patients`).
"""

from volseg.datasets.check import check_dataset
from volseg.datasets.layouts import read_dataset
from volseg.datasets.patients import describe_patients, forget_patients
from volseg.datasets.splits import count_folds, describe_shared_patients, split
from volseg.datasets.types import Case, Dataset, Patient, Splits, read_images, read_reference

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
    "read_dataset",
    "read_images",
    "read_reference",
    "split",
]

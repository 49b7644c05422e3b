"""Training sets: which files are the channels and the label map of which case.

Five layouts are read; `read_dataset` tells them apart::

    Medical Segmentation Decathlon   folder with dataset.json that lists "training" pairs; 4D images hold the channels
    nnU-Net v2                       folder with dataset.json ("channel_names"), imagesTr/<case>_0000.<ending>, labelsTr
    plain folder                     imagesTr/<case>.<any> or <case>_0000.<any>, labelsTr/<case>.<any>
    CSV                              columns image (or image_0, image_1, ...), label, and optionally case
    patterns                         images="images/*.nii.gz", labels="labels/{}.nii.gz"

A label map may be a folder of masks, one a structure and called like it (`volseg.io.labels.mask_folder`); its labels
then have the values that their names have in the dataset.

Where no ``dataset.json`` names the labels, ``labels.tsv`` at the root does (see `volseg.io.labels.table`); without that
every label map is decoded to see which values there are, and kept packed in memory. Files and folders whose names
start with ``.`` or ``_`` are left out. ``splits_final.json`` at the root gives the folds.
"""

from volseg.datasets.check import check_dataset
from volseg.datasets.layouts import read_dataset
from volseg.datasets.types import Case, Dataset, Splits, count_folds, read_images, read_reference, split

__all__ = [
    "Case",
    "Dataset",
    "Splits",
    "check_dataset",
    "count_folds",
    "read_dataset",
    "read_images",
    "read_reference",
    "split",
]

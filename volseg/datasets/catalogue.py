"""The public training sets that are known by name: the ten tasks of the Medical Segmentation Decathlon."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from volseg.errors import UsageError


@dataclass(frozen=True)
class PublicDataset:
    """A training set that anybody may have: `folder` names it and its ``.tar``, whose MD5 digest is `md5`."""

    folder: str
    md5: str
    content: str


_DECATHLON = (
    PublicDataset(
        "Task01_BrainTumour",
        "240a19d752f0d9e9101544901065d872",
        "MR (FLAIR, T1, T1 with contrast, T2): oedema, non-enhancing and enhancing tumour",
    ),
    PublicDataset("Task02_Heart", "06ee59366e1e5124267b774dbd654057", "MR: left atrium"),
    PublicDataset("Task03_Liver", "a90ec6c4aa7f6a3d087205e23d4e6397", "CT: liver, tumours"),
    PublicDataset("Task04_Hippocampus", "9d24dba78a72977dbd1d2e110310f31b", "MR: anterior and posterior hippocampus"),
    PublicDataset(
        "Task05_Prostate", "35138f08b1efaef89d7424d2bcc928db", "MR (T2, ADC): peripheral zone, central gland"
    ),
    PublicDataset("Task06_Lung", "8afd997733c7fc0432f71255ba4e52dc", "CT: lung tumours"),
    PublicDataset("Task07_Pancreas", "4f7080cfca169fa8066d17ce6eb061e4", "CT: pancreas, tumours"),
    PublicDataset("Task08_HepaticVessel", "641d79e80ec66453921d997fbf12a29c", "CT: vessels of the liver, tumours"),
    PublicDataset("Task09_Spleen", "410d4a301da4e5b2f6f86ec3ddba524e", "CT: spleen"),
    PublicDataset("Task10_Colon", "bad7a188931dc2f6acf72b08eb6202d0", "CT: colon cancer"),
)
# The archives are MONAI's copy, and the digests are those that MONAI publishes (monai/apps/datasets.py).
HOST = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
CATALOGUE = {f"msd:{dataset.folder}": dataset for dataset in _DECATHLON}
LICENCE = "CC BY-SA 4.0"
CITATION = (
    "Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 2022, doi 10.1038/s41467-022-30695-9"
)


def find_public(name: str) -> PublicDataset:
    """Return the training set of that name.

    Parameters
    ----------
    name : str

    Raises
    ------
    UsageError
        The name is unknown; the nearest name is suggested.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.75)
    hint = f"did you mean {near[0]!r}?" if near else "`volseg dataset list` shows them all"
    raise UsageError(f"dataset {name!r} is unknown; expected a name such as 'msd:Task04_Hippocampus'; {hint}")

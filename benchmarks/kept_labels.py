"""How well the labels of a training set survive coarser slices, as plans judge it.

    python benchmarks/kept_labels.py DATASET [--fold F] [--set preparation.planes=[coronal]]

For each factor of the spacing within slices: the mean Dice of the labels of some training cases with themselves,
brought to that spacing and back (`volseg.training.time_fit.kept_dice`).
"""

import argparse
from pathlib import Path

from volseg.config import load_config
from volseg.datasets import read_dataset
from volseg.training.facts import find_facts
from volseg.training.plan import choose_cases, make_plan
from volseg.training.time_fit import kept_dice

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for volseg train")
    chosen = parser.parse_args()
    dataset = read_dataset(chosen.dataset)
    cases, _ = choose_cases(dataset, chosen.fold)
    facts = [find_facts(case) for case in cases]
    for factor in (1.5, 2.0, 3.0):
        preparation = make_plan(load_config(overrides=tuple(chosen.set)), dataset, facts, coarser=factor).preparation
        spacing = " x ".join(f"{mm:g}" for mm in preparation.spacing_mm or ())
        print(f"{factor:g} times, {spacing} mm: {kept_dice(cases, preparation):.3f}")

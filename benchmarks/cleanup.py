"""What the held-out cases of a fold decide about the clean-up of a trained model, and what it brings them.

    python benchmarks/cleanup.py DATASET RUN FOLD

Predicts the held-out cases once. For each label: the decision; the difference of the Dice over the cases that have the
label, paired, with its 95 % interval, and how many gain and lose; HD95 before and after. Each case is cleaned as the
cases of the other groups decide. Then the CPU seconds of predicting, and of counting and deciding.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import volseg
from volseg.datasets import read_dataset, read_images, read_reference, split
from volseg.evaluation import summarise
from volseg.evaluation.metrics import hd95_mm, surface_distances
from volseg.prediction.cleanup import clean_labels, describe_cleanup
from volseg.training.cleanup_choice import CleanupTrial, group_cases


def measure(dataset: Path, run: Path, fold: int) -> None:
    model, cases = volseg.load_model(run), split(read_dataset(dataset), fold)[1]
    trial, pairs = CleanupTrial(model.labels, model.config.cleanup), []
    start = time.process_time()
    for case in cases:
        pairs.append((volseg.predict(model, read_images(case), device="cpu").labels, read_reference(case)))
    predicted = time.process_time()
    for pair in pairs:
        trial.add(lambda pair=pair: pair)
    by_others = trial.decide_by_others(group_cases(cases))
    decided = trial.sum_up(trial.decide(), by_others)
    end = time.process_time()
    before, after = trial.table([{}] * len(cases)), trial.table(by_others)
    for column, label in enumerate(model.labels):
        gains = (after - before)[:, column]
        found, distances = summarise(gains.tolist()), []
        for (prediction, reference), steps in zip(pairs, by_others, strict=True):
            of_case = []
            for labels in (prediction, clean_labels(prediction, steps)):
                surfaces = surface_distances(labels.mask(label), reference.mask(label), reference.grid)
                of_case.append(hd95_mm(surfaces))
            distances.append(of_case)
        first, then = np.nanmean(distances, axis=0)
        what, dice = describe_cleanup(decided[label.name].settings), np.nanmean(before[:, column])
        change = f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        counts = f"{(gains > 0).sum()} gain, {(gains < 0).sum()} lose"
        print(f"{label.name}: {what}; Dice {dice:.4f}, {change}, {counts}; HD95 {first:.2f} to {then:.2f} mm")
    print(f"{len(cases)} cases: {predicted - start:.1f} CPU s to predict, {end - predicted:.1f} to count and decide")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dataset", type=Path)
parser.add_argument("run", type=Path)
parser.add_argument("fold", type=int)
arguments = parser.parse_args()
measure(arguments.dataset, arguments.run, arguments.fold)

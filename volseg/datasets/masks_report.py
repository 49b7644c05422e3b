"""What merging the masks of a dataset costs: voxels that go to smaller structures, and structures that cases lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from volseg.core.labelmap import Label, LabelMap, count_values
from volseg.core.merging import Loss
from volseg.datasets.types import Case
from volseg.files.plain_text import first_few

# A label that loses more of its voxels, over all cases, is not what its name says.
_MOST_LOST = 0.5


@dataclass
class MasksReport:
    """Gathers the overlaps of the cases of a dataset, and the labels for which they have no mask.

    Parameters
    ----------
    labels : sequence of Label
        Of the dataset.
    """

    labels: Sequence[Label]
    _voxels: Counter[Label] = field(default_factory=Counter)
    _losses: dict[Label, dict[str, Loss]] = field(default_factory=dict)
    _absent: dict[Label, list[str]] = field(default_factory=dict)
    _cases: int = 0

    def add(self, case: Case, labels: LabelMap) -> list[str]:
        """Add a case; return what is wrong with it alone.

        Parameters
        ----------
        case : Case
            With its label map packed.
        labels : LabelMap
            The label map.
        """
        self._cases += 1
        if case.masks:
            there = {label for _, label in case.structures}
            for label in self.labels:
                if label not in there:
                    self._absent.setdefault(label, []).append(case.name)
        losses = case.packed.losses if case.packed is not None else ()
        kept, by_value = count_values(labels.array), {label.value: label for label in labels.labels}
        for value, count in kept.items():
            self._voxels[by_value[value]] += count
        problems = []
        for loss in losses:
            self._voxels[loss.label] += loss.lost
            self._losses.setdefault(loss.label, {})[case.name] = loss
            if loss.lost == loss.voxels:
                problems.append(f"nothing is left of {loss.label.name}: {loss}; {_remedy(loss.label)}")
        return problems

    def problems(self) -> Iterator[str]:
        """Say which labels lose most of themselves over all cases."""
        for label, losses in self._losses.items():
            lost = sum(loss.lost for loss in losses.values())
            if lost > _MOST_LOST * self._voxels[label]:
                yield (
                    f"{label.name} would lose most of itself, {self._told(label)}: it would be learnt as what is left; "
                    f"{_remedy(label)}"
                )

    def warnings(self) -> Iterator[str]:
        """Say which voxels went to other labels in which cases, and which labels have no mask in which cases."""
        if self._losses:
            yield "masks overlap, and each voxel goes to the smallest structure; `volseg convert --merge` shows a case"
        for label in self._losses:
            yield f"{label.name} gives {self._told(label)}"
        for label, cases in self._absent.items():
            count = f"{len(cases)} of {self._cases} cases"
            yield f"{label.name} has no mask in {count} and is absent there: {first_few(cases)}"

    def _told(self, label: Label) -> str:
        losses = self._losses[label]
        takers: Counter[str] = Counter()
        for loss in losses.values():
            for taker, count in loss.takers:
                takers[taker.name] += count
        lost, voxels = takers.total(), self._voxels[label]
        told = first_few([f"{name} ({count})" for name, count in takers.most_common()])
        return (
            f"{lost} of its {voxels} voxels ({100 * lost / voxels:.3g} %) to {told} in {len(losses)} of {self._cases} "
            f"cases: {first_few(list(losses))}"
        )


def _remedy(label: Label) -> str:
    return f"take {label.name} or the labels inside it out of the dataset (labels.tsv names those to train)"

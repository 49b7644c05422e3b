"""Common parts of all cases of a call: the model and the settings."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from volseg.cases.outputs import OutputSettings
from volseg.config import CleanupConfig
from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import Label, LabelMap
from volseg.network.devices import choose_device
from volseg.network.file import Model
from volseg.prediction.cleanup import model_cleanup
from volseg.prediction.doubt import Doubt, apply_to
from volseg.prediction.inference import INFERENCE
from volseg.prediction.networks import ReadyModel

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Job:
    """Common parts of all cases of a call; see `make_job`.

    Parameters
    ----------
    model : Model
    output : Path
        Gets a folder for each case.
    settings : OutputSettings
    labels : tuple of Label
        The wanted labels of the model.
    cleanup : dict of str to CleanupConfig
        By label name.
    device : str
        As torch names it, or ``auto``.
    """

    model: Model
    output: Path
    settings: OutputSettings
    labels: tuple[Label, ...]
    cleanup: dict[str, CleanupConfig]
    device: str

    @cached_property
    def ready_model(self) -> ReadyModel:
        """The model on the device, with its networks made ready once for all cases."""
        return ReadyModel(self.model, self.device)

    def how(self, *, by_weights: bool = False) -> dict[str, Any]:
        """Return what decides over the labels, as in ``made_by`` of ``run.json``.

        Parameters
        ----------
        by_weights : bool
            Whether the model is known by its weights alone, as in versions before 0.1.0.
        """
        model = self.model
        only = [label.name for label in self.labels]
        cleanup = {name: entry.model_dump() for name, entry in self.cleanup.items()}
        return {
            "model": [model.fingerprint, model.sha256 if by_weights else model.digest, model.temperature],
            "version of inference": INFERENCE,
            "strict": self.settings.strict,
            "only": None if self.labels == model.labels else only,
            "cleanup": cleanup,
        }

    @property
    def surface_factor(self) -> float | None:
        """By what held-out cases multiply the standard deviations of surfaces; None if they do not tell."""
        fit = None if self.model.doubt is None else self.model.doubt.surface
        return None if fit is None else fit.factor

    def settle_doubt(self, doubt: Doubt, labels: LabelMap) -> Doubt:
        """Return the doubt about the labels as they are written.

        Parameters
        ----------
        doubt : Doubt
            Of the prediction.
        labels : LabelMap
            Its wanted labels after clean-up. Nothing is expected where the clean-up is not that of held-out cases.
        """
        nothing, usual = CleanupConfig(), model_cleanup(self.model)
        changed = []
        for label in self.model.labels:
            if self.cleanup.get(label.name, nothing) != usual.get(label.name, nothing):
                changed.append(label.name)
        why = "held-out cases had another clean-up"
        settled = apply_to(doubt, labels, self.model.doubt, unlike=changed, why=why)
        if self.labels != self.model.labels:
            reason = "no expected Dice: held-out cases have it for all labels of the model"
            return replace(settled, expected_dice=None, interval=None, reasons=(*settled.reasons, reason))
        if changed and doubt.expected_dice is not None:
            reason = f"no expected Dice: {why} of {', '.join(changed)}"
            return replace(settled, expected_dice=None, interval=None, reasons=(*settled.reasons, reason))
        return settled

    def explain_training(self) -> dict[str, Any]:
        """Return for ``run.json`` what the model's training scans were like; a report compares scans with it."""
        preparation = self.model.config.preparation
        return {
            "modalities": list(self.model.modalities),
            "spacing_mm": preparation.spacing_mm,
            "normalisation": [entry.model_dump() for entry in preparation.normalisation or ()],
        }

    def explain_cleanup(self) -> dict[str, Any]:
        """Return for ``run.json`` what is done to each label, and why.

        Labels about which nothing was set or decided are left out. A label whose clean-up is as held-out cases decided
        has their number and the mean Dice over them without and with it.
        """
        told: dict[str, Any] = {}
        for label in self.labels:
            decision = self.model.cleanup.get(label.name)
            if decision is None and label.name not in self.cleanup:
                continue
            step = self.cleanup.get(label.name, CleanupConfig())
            told[label.name] = {**step.model_dump(), "decided_by": "settings"}
            if decision is not None and decision.settings == step:
                evidence = {
                    "held_out_cases": decision.cases,
                    "dice_before": decision.dice_before,
                    "dice_after": decision.dice_after,
                }
                told[label.name] |= {"decided_by": "held-out cases", **evidence}
        return told


def make_job(model: Model, output: Path | str, *, settings: OutputSettings | None = None, device: str = "auto") -> Job:
    """Check what all cases have in common; nothing is written.

    Parameters
    ----------
    model : Model
    output : path
        Folder that gets a folder for each case.
    settings : OutputSettings, optional
    device : str
        As torch names it, or ``auto``.

    Raises
    ------
    InputError
        The model lacks a label that is wanted.
    UsageError
        There is no such device.
    """
    wanted = settings or OutputSettings()
    if model.weakness:
        _LOG.warning("the model means nothing: %s; train it for longer", model.weakness)
    choose_device(device)  # a missing device is no fault of any case
    cleanup = model_cleanup(model, wanted.cleanup)
    labels = LabelChoice(wanted.only).of(model.labels, "the model")
    return Job(model, Path(output), wanted, labels, cleanup, device)

"""What a model file says of itself: what it finds in which scans, how it was trained, and its clean-up."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from volseg.cli.cleanup_line import cleanup_line
from volseg.cli.fit_line import fit_line
from volseg.files.plain_text import plain


def is_model(path: Path) -> bool:
    """Whether a path is a model file, or the folder of a run that holds one.

    Parameters
    ----------
    path : Path
    """
    return path.suffix == ".safetensors" or (path / "model.safetensors").is_file()


def model_facts(path: Path) -> dict[str, Any]:
    """Return what a model file says of itself, as JSON values.

    Parameters
    ----------
    path : Path
        A model file, or the folder of a run.
    """
    from volseg.network.file import load_model

    model = load_model(path)
    return {
        "kind": "volseg model",
        "version": model.version,
        "channels": list(model.channel_names),
        "modalities": list(model.modalities),
        "labels": {label.name: label.value for label in model.labels},
        "networks": sorted(model.networks),
        "preset": model.config.preset,
        "steps": model.steps,
        "weakness": model.weakness,
        "temperature": model.temperature,
        "cleanup": {name: asdict(decision) for name, decision in model.cleanup.items()},
        "doubt": None if model.doubt is None else asdict(model.doubt),
    }


def model_lines(facts: dict[str, Any]) -> list[str]:
    """Say the same in lines; the last one tells a model that means nothing.

    Parameters
    ----------
    facts : dict
        Of `model_facts`.
    """
    from volseg.network.description import CleanupDecision

    steps = "not told, as an older version wrote it" if facts["steps"] is None else f"{facts['steps']:,} a network"
    lines = [
        f"volseg model of version {facts['version'] or 'unknown'}, preset {facts['preset']}",
        f"channels: {', '.join(facts['channels'])}",
        f"labels: {', '.join(facts['labels'])}",
        f"networks: {', '.join(facts['networks'])}",
        f"steps: {steps}",
    ]
    if facts["cleanup"]:
        lines.append(cleanup_line({name: CleanupDecision(**entry) for name, entry in facts["cleanup"].items()}))
    else:
        lines.append("clean-up by held-out cases: none decided")
    lines.append(fit_line(facts["doubt"]))
    if facts["weakness"]:
        lines.append(f"EXPECT NOTHING OF IT: {facts['weakness']}")
    return [plain(line) for line in lines]

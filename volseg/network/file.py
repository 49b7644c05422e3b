"""The model file: one safetensors with the networks' weights and everything needed to use them. Never pickle.

Tensors are named ``net.<plane>.<fold>.<parameter>``; several networks are averaged. The metadata key ``volseg`` holds
JSON: `volseg.network.description.Description`, with the digest of the whole file. Older formats are read too: 4, which
knows nothing of the scores of held-out cases, 3, which has no decided clean-up and does not say how many steps were
made, 2, whose digest covers the tensors' bytes alone, and 1, of one plane.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from volseg._version import __version__
from volseg.config import Config
from volseg.config.problems import shown
from volseg.core.labelmap import Label
from volseg.core.planes import PLANES
from volseg.errors import DAMAGE, InputError, ModelError
from volseg.files.atomic import atomic_path
from volseg.files.regular import regular_file
from volseg.network.base import Generator
from volseg.network.description import FORMAT, SEALED, CleanupDecision, Description, make_description, parse_content
from volseg.network.digest import OPEN, Digests, check_header, compute_digests, seal
from volseg.network.doubt_fit import DoubtFit
from volseg.network.generator import build_generator

_DAMAGE: tuple[type[Exception], ...] = (SafetensorError, *DAMAGE)
_DESCRIPTION_DAMAGE: tuple[type[Exception], ...] = (InputError, *_DAMAGE)
FEW_STEPS = 100  # of each network: fewer teach next to nothing
_TYPES = {torch.float32: "F32", torch.int64: "I64"}

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Model:
    """Trained networks with their settings, labels and channels.

    Parameters
    ----------
    config : Config
        Resolved: every planned value is set.
    labels : tuple of Label
        Class n of the networks is ``labels[n - 1]``; class 0 is background.
    channel_names : tuple of str
        What each input channel is, in order.
    networks : dict of str to Generator
        By ``<plane>.<fold>``.
    modalities : tuple of str or None
        DICOM's word for each channel, where it is known.
    temperature : float
        Of the probabilities; see `volseg.prediction.calibration`.
    fingerprint : str
        Of the training data.
    version : str
        volseg's, when the model was trained.
    steps : int, optional
        Of each network in training, at least; None in files of older versions, which do not say it.
    path : Path, optional
        Where it was loaded from.
    sha256 : str
        Of the weights' bytes, where it was loaded from a file.
    digest : str
        Of everything in that file.
    cleanup : dict of str to CleanupDecision
        By label name, what held-out cases decided. Labels with an entry in ``config.cleanup`` have none.
    doubt : DoubtFit, optional
        What held-out cases tell about the quality of a prediction; None where there were none, and in files of older
        versions.

    Examples
    --------
    >>> import volseg
    >>> model = volseg.load_model("hippocampus")
    >>> model.modalities, [label.name for label in model.labels]
    (('MR',), ['Anterior', 'Posterior'])
    """

    config: Config
    labels: tuple[Label, ...]
    channel_names: tuple[str, ...]
    networks: Mapping[str, Generator]
    modalities: tuple[str | None, ...] = ()
    temperature: float = 1.0
    fingerprint: str = ""
    version: str = __version__
    steps: int | None = None
    path: Path | None = None
    sha256: str = ""
    digest: str = ""
    cleanup: Mapping[str, CleanupDecision] = field(default_factory=dict)
    doubt: DoubtFit | None = None

    @property
    def weakness(self) -> str:
        """Why nothing should be expected of its predictions; empty for a model that made enough steps."""
        if self.steps is None or self.steps >= FEW_STEPS:
            return ""
        count = "1 step" if self.steps == 1 else f"{self.steps} steps"
        return f"each of its networks made {count} in training, of {FEW_STEPS} at least that mean anything"


def make_generator(config: Config, *, channels: int, labels: int) -> Generator:
    """Make the generator of a resolved config for a number of input channels and of labels without background.

    Parameters
    ----------
    config : Config
        Planned.
    channels : int
        Of a scan; neighbours are added.
    labels : int
        Without background.
    """
    slices = 2 * config.preparation.neighbours + 1
    return build_generator(channels * slices, labels + 1, config.network)


def save_model(model: Model, path: str | Path) -> Path:
    """Write a model file atomically and return its path.

    Parameters
    ----------
    model : Model
    path : path
        A ``.safetensors`` file.

    Examples
    --------
    >>> import volseg
    >>> model = volseg.load_model("hippocampus")
    >>> volseg.save_model(model, "copy.safetensors").name
    'copy.safetensors'
    """
    tensors = {}
    for name, network in model.networks.items():
        for key, value in network.state_dict().items():
            # Copied, as two networks of a training may share their weights, which the format does not allow.
            tensors[f"net.{name}.{key}"] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    content = {
        "format": FORMAT,
        "version": model.version,
        "config": model.config.model_dump(mode="json"),
        "labels": [asdict(label) for label in model.labels],
        "channel_names": list(model.channel_names),
        "modalities": list(model.modalities),
        "temperature": model.temperature,
        "cleanup": {name: asdict(decision) for name, decision in model.cleanup.items()},
        "doubt": None if model.doubt is None else asdict(model.doubt),
        "fingerprint": model.fingerprint,
        "steps": model.steps,
        "digest": OPEN,
    }
    blob = seal(save(tensors, metadata={"volseg": json.dumps(content)}))
    with atomic_path(path) as temporary:
        temporary.write_bytes(blob)
    return Path(path)


def load_model(path: str | Path) -> Model:
    """Read a model file and check it.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file; the folder of a training run, in which ``model.safetensors`` is taken; or the name of a
        model that comes with volseg, see `released_models`.

    Raises
    ------
    InputError
        No such file, or no such model.
    ModelError
        Not a volseg model, damaged (digest), of a newer format, with impossible settings, or with weights that do not
        fit them.

    Examples
    --------
    >>> import volseg
    >>> model = volseg.load_model("hippocampus")
    >>> sorted(model.networks)
    ['axial.all', 'coronal.all', 'sagittal.all']
    """
    file = _find(path)
    content, digests = _read_content(file)
    try:
        description = make_description(content)
        labels = tuple(entry.label() for entry in description.labels)
        networks = _load_networks(file, description)
    except _DESCRIPTION_DAMAGE as error:
        raise ModelError(f"{file}: the model's description is damaged ({_first_line(error)})") from error
    return Model(
        description.config,
        labels,
        description.channel_names,
        networks,
        modalities=description.modalities,
        temperature=description.temperature,
        cleanup=description.cleanup,
        doubt=description.doubt,
        fingerprint=description.fingerprint,
        version=description.version,
        steps=description.steps,
        path=file,
        sha256=digests.tensors,
        digest=digests.everything,
    )


def released_models() -> dict[str, Path]:
    """Return the models that come with volseg, by name; beside each lies its model card, ``<name>.md``."""
    folder = Path(str(resources.files("volseg"))) / "models"
    return {file.stem: file for file in sorted(folder.glob("*.safetensors"))}


def _find(path: str | Path) -> Path:
    file = Path(path)
    if not file.exists():
        file = released_models().get(str(path), file)
    if file.is_dir():
        file = file / "model.safetensors"
    if not file.exists():
        raise InputError(
            f"{file}: no such model file; give a model.safetensors, the folder of a training run, or one of the models "
            f"that come with volseg: {', '.join(released_models())}"
        )
    return regular_file(file)


def _read_content(file: Path) -> tuple[dict[str, Any], Digests]:
    """Read what a file says of itself, once it is known to be a volseg model and whole."""
    try:
        check_header(file)
        with safe_open(file, framework="pt") as stream:
            text = (stream.metadata() or {}).get("volseg", "null")
        content = parse_content(text)
        digests = compute_digests(file, sealed_with=str(content and content.get("digest")))
    except _DAMAGE as error:
        raise ModelError(f"{file}: is not a readable safetensors file ({_first_line(error)})") from error
    if content is None:
        raise ModelError(f"{file}: is a safetensors file but not a volseg model; train one with `volseg train`")
    if content["format"] > FORMAT:
        raise ModelError(
            f"{file}: has model format {content['format']}, this volseg reads up to {FORMAT}; update volseg"
        )
    if content["format"] >= SEALED and content.get("digest") != digests.everything:
        raise ModelError(f"{file}: does not match its digest; the file is damaged or was edited, fetch it again")
    if content["format"] < SEALED:
        if content.get("sha256") != digests.tensors:
            raise ModelError(f"{file}: the weights do not match their checksum; the file is damaged, fetch it again")
        _LOG.warning(
            "%s: was written by an older volseg, whose checksum does not cover labels and settings; once you have seen "
            "that its predictions are right, write it anew: volseg.save_model(volseg.load_model(FILE), FILE)",
            file,
        )
    return content, digests


def _load_networks(file: Path, description: Description) -> dict[str, Generator]:
    groups: dict[str, dict[str, str]] = {}
    networks = {}
    with safe_open(file, framework="pt") as stream:
        for key in stream.keys():  # noqa: SIM118
            kind, plane, fold, parameter = (*key.split(".", 3), "", "", "")[:4]
            if kind == "net" and plane not in PLANES:
                raise ValueError(f"tensor {shown(key)} is of no plane; expected one of {', '.join(PLANES)}")
            if kind == "net":
                groups.setdefault(f"{plane}.{fold}", {})[parameter] = key
        if not groups:
            raise ValueError("it holds no network")
        for name, keys in groups.items():
            networks[name] = _load_network(stream, name, keys, description)
    return networks


def _load_network(stream: Any, name: str, keys: dict[str, str], description: Description) -> Generator:
    # The network is first made without memory, to compare the sizes that the settings give with those in the file.
    with torch.device("meta"):
        network = make_generator(
            description.config, channels=len(description.channel_names), labels=len(description.labels)
        )
    expected = {key: f"{_TYPES[value.dtype]} {list(value.shape)}" for key, value in network.state_dict().items()}
    found = {}
    for parameter, key in keys.items():
        part = stream.get_slice(key)
        found[parameter] = f"{part.get_dtype()} {part.get_shape()}"
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            met, wanted = found.get(key, "missing"), expected.get(key, "none")
            raise ValueError(f"{shown(key)} of network {name} is {met}; its settings need {wanted}")
    weights = {}
    for parameter, key in keys.items():
        weights[parameter] = stream.get_tensor(key)
        if not torch.isfinite(weights[parameter]).all():
            raise ValueError(f"network {name} has weights that are not finite")
    network = network.to_empty(device="cpu")
    network.load_state_dict(weights)
    return network.eval()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__

"""The model file: one safetensors with the networks' weights and everything needed to use them. Never pickle.

Tensors are named ``net.<plane>.<fold>.<parameter>``; several networks are averaged. The metadata key ``volseg`` holds
JSON: ``format``, the resolved config, labels, channel names and modalities, the calibration, volseg's version, a
fingerprint of the training data and the SHA-256 of the tensors' bytes. Format 1, of one plane, is read too.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from volseg import __version__
from volseg.config import Config, parse_config
from volseg.errors import ConfigError, InputError, ModelError
from volseg.io.atomic import atomic_path
from volseg.labelmap import Label
from volseg.model.generator import Generator
from volseg.slices import in_plane

FORMAT = 2


@dataclass(frozen=True, eq=False)
class Model:
    """Trained networks and what they need.

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
        Of the probabilities; see `volseg.calibration`.
    fingerprint : str
        Of the training data.
    version : str
        volseg's, when the model was trained.
    path : Path, optional
        Where it was loaded from.
    sha256 : str
        Of the weights' bytes, where it was loaded from a file.
    """

    config: Config
    labels: tuple[Label, ...]
    channel_names: tuple[str, ...]
    networks: Mapping[str, Generator]
    modalities: tuple[str | None, ...] = ()
    temperature: float = 1.0
    fingerprint: str = ""
    version: str = __version__
    path: Path | None = None
    sha256: str = ""


def make_generator(config: Config, *, channels: int, labels: int) -> Generator:
    """Make the generator of a resolved config for a number of input channels and of labels without background."""
    slices = 2 * config.preparation.neighbours + 1
    return Generator(channels * slices, labels + 1, config.network)


def save_model(model: Model, path: str | Path) -> Path:
    """Write a model file atomically and return its path."""
    tensors = {
        f"net.{name}.{key}": value.detach().cpu().contiguous()
        for name, network in model.networks.items()
        for key, value in network.state_dict().items()
    }
    content = {
        "format": FORMAT,
        "version": model.version,
        "config": model.config.model_dump(mode="json"),
        "labels": [asdict(label) for label in model.labels],
        "channel_names": list(model.channel_names),
        "modalities": list(model.modalities),
        "temperature": model.temperature,
        "fingerprint": model.fingerprint,
        "sha256": _digest(save(tensors)),
    }
    blob = save(tensors, metadata={"volseg": json.dumps(content)})
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
        Not a volseg model, damaged (checksum), of a newer format, or with weights that do not fit its config.
    """
    file = Path(path)
    if not file.exists():
        file = released_models().get(str(path), file)
    if file.is_dir():
        file = file / "model.safetensors"
    if not file.is_file():
        raise InputError(
            f"{file}: no such model file; give a model.safetensors, the folder of a training run, or one of the models "
            f"that come with volseg: {', '.join(released_models())}"
        )
    content, tensors = _read(file)
    try:
        temperature = float(content.get("temperature", 1.0))
        if not 0 < temperature < float("inf"):
            raise ValueError(f"its temperature is {temperature:g}")
        config = parse_config(content["config"] if content["format"] > 1 else _of_three_axes(content["config"]))
        labels = tuple(Label(**{**entry, "colour": tuple(entry["colour"])}) for entry in content["labels"])
        channel_names = tuple(str(name) for name in content["channel_names"])
        if len(config.preparation.normalisation or ()) != len(channel_names):
            raise ValueError(f"it has not one normalisation for each of its channels {channel_names}")
        networks = _build_networks(tensors, config, len(channel_names), len(labels))
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, ConfigError, InputError) as error:
        raise ModelError(f"{file}: the model's description is damaged ({_first_line(error)})") from error
    return Model(
        config,
        labels,
        channel_names,
        networks,
        modalities=tuple(content.get("modalities", ())),
        temperature=temperature,
        fingerprint=str(content.get("fingerprint", "")),
        version=str(content.get("version")),
        path=file,
        sha256=content["sha256"],
    )


def released_models() -> dict[str, Path]:
    """Return the models that come with volseg, by name; beside each lies its model card, ``<name>.md``."""
    folder = Path(str(resources.files("volseg"))) / "models"
    return {file.stem: file for file in sorted(folder.glob("*.safetensors"))}


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(file, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
        content = json.loads(metadata.get("volseg", "null"))
    except (SafetensorError, OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{file}: is not a readable safetensors file ({_first_line(error)})") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise ModelError(f"{file}: is a safetensors file but not a volseg model; train one with `volseg train`")
    if content["format"] > FORMAT:
        raise ModelError(
            f"{file}: has model format {content['format']}, this volseg reads up to {FORMAT}; update volseg"
        )
    if content.get("sha256") != _digest(file.read_bytes()):
        raise ModelError(f"{file}: the weights do not match their checksum; the file is damaged, fetch it again")
    return content, tensors


def _of_three_axes(config: dict[str, Any]) -> dict[str, Any]:
    """Turn the config of format 1, which gives sizes for one plane, into today's. Across slices any size will do."""
    preparation, training = dict(config["preparation"]), dict(config["training"])
    plane = preparation.pop("plane")
    for section, key in ((preparation, "spacing_mm"), (training, "slice_size")):
        if section[key] is not None:
            sizes = dict(zip(in_plane(plane), section[key], strict=True))
            section[key] = [sizes.get(axis, max(section[key])) for axis in range(3)]
    return {**config, "preparation": {**preparation, "planes": [plane]}, "training": training}


def _digest(blob: bytes) -> str:
    """SHA-256 of the tensor bytes of a safetensors file: everything behind its JSON header."""
    (header,) = struct.unpack_from("<Q", blob)
    return hashlib.sha256(memoryview(blob)[8 + header :]).hexdigest()


def _build_networks(tensors: dict[str, Tensor], config: Config, channels: int, labels: int) -> dict[str, Generator]:
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, plane, fold, parameter = key.split(".", 3)
        if kind == "net":
            groups.setdefault(f"{plane}.{fold}", {})[parameter] = value
    if not groups:
        raise ValueError("it holds no network")
    networks = {}
    for name, weights in groups.items():
        if not all(torch.isfinite(value).all() for value in weights.values()):
            raise ValueError(f"network {name} has weights that are not finite")
        networks[name] = make_generator(config, channels=channels, labels=labels)
        networks[name].load_state_dict(weights)
        networks[name].eval()
    return networks


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__

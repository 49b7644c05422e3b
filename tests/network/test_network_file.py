from __future__ import annotations

import json
import pickle
import re
import struct
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from volseg.config import parse_config
from volseg.core.labelmap import Label
from volseg.errors import InputError, ModelError, OutputError
from volseg.network.description import FORMAT, CleanupDecision
from volseg.network.digest import OPEN, seal
from volseg.network.doubt_fit import DiceFit, DoubtFit, VolumeFit
from volseg.network.file import Model, load_model, make_generator, save_model

LABELS = (Label(3, "liver", (200, 0, 0), "SCT:10200004"), Label(300, "Niere, links", (0, 200, 0)))
CONFIG = parse_config(
    {
        "preparation": {
            "planes": ["coronal"],
            "spacing_mm": [0.8, 2.5, 1 / 3],
            "normalisation": [{"kind": "window", "low": -100, "high": 300, "mean": 40, "std": 80}, {"kind": "zscore"}],
            "neighbours": 1,
        },
        "network": {"width": 4, "levels": 2, "norm": "batch"},
    }
)


def make_model(folds: int = 2) -> Model:
    torch.manual_seed(0)
    networks = {f"coronal.{n}": make_generator(CONFIG, channels=2, labels=2).eval() for n in range(folds)}
    return Model(CONFIG, LABELS, ("t1", "flair"), networks, temperature=1.25, fingerprint="a1b2")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_model(make_model(), tmp_path / "model.safetensors")


def split(blob: bytes) -> tuple[dict[str, Any], bytes]:
    """JSON header and tensor bytes of a safetensors file."""
    (size,) = struct.unpack_from("<Q", blob)
    return json.loads(blob[8 : 8 + size]), blob[8 + size :]


def join(header: dict[str, Any], tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + tensors


def describe_again(path: Path, change: Callable[[dict[str, Any]], object], *, sealed: bool = True) -> None:
    """Rewrite the metadata of a model file, with its digest or without; the tensors stay."""
    header, tensors = split(path.read_bytes())
    content = json.loads(header["__metadata__"]["volseg"])
    if sealed:
        content["digest"] = OPEN
    change(content)
    header["__metadata__"]["volseg"] = json.dumps(content)
    path.write_bytes(seal(join(header, tensors)) if sealed else join(header, tensors))


def test_a_model_comes_back_as_it_was(saved: Path) -> None:
    model, again = make_model(), load_model(saved)
    assert again.config == model.config
    assert again.labels == model.labels
    assert again.channel_names == ("t1", "flair")
    assert (again.fingerprint, again.version, again.path) == ("a1b2", model.version, saved)
    assert again.temperature == 1.25
    assert len(again.sha256) == len(again.digest) == 64
    assert list(again.networks) == ["coronal.0", "coronal.1"]
    x = torch.randn(1, 6, 20, 24)
    for name, network in again.networks.items():
        assert not network.training
        assert torch.equal(network(x), model.networks[name](x))
    assert not torch.equal(again.networks["coronal.0"](x), again.networks["coronal.1"](x))


def test_a_decided_clean_up_comes_back(tmp_path: Path) -> None:
    decided = {
        "liver": CleanupDecision(True, 0.0, False, cases=12, dice_before=0.8, dice_after=0.85),
        "Niere, links": CleanupDecision(False, 2.56, True, cases=0, dice_before=None, dice_after=None),
    }
    path = save_model(replace(make_model(), cleanup=decided), tmp_path / "m.safetensors")
    assert load_model(path).cleanup == decided
    assert load_model(save_model(make_model(), tmp_path / "n.safetensors")).cleanup == {}


def test_a_file_of_format_3_has_no_decided_clean_up(saved: Path) -> None:
    def older(content: dict[str, Any]) -> None:
        content["format"] = 3
        del content["cleanup"]

    describe_again(saved, older)
    assert load_model(saved).cleanup == {}


DOUBT = DoubtFit(
    52,
    soft_dice=(0.5, 0.75),
    plane_agreement=(0.25, 1.0),
    dice=DiceFit(0.8, 0.9, 0.05, -0.01),
    volumes={"liver": VolumeFit(52, 0.9, 1.2), "Niere, links": VolumeFit(3)},
    training_ml={"liver": (800.0, 2100.5)},
)


def test_what_held_out_cases_tell_comes_back(tmp_path: Path) -> None:
    path = save_model(replace(make_model(), doubt=DOUBT), tmp_path / "m.safetensors")
    assert load_model(path).doubt == DOUBT
    assert load_model(save_model(make_model(), tmp_path / "n.safetensors")).doubt is None


def test_a_file_of_format_4_knows_no_held_out_cases(saved: Path) -> None:
    def older(content: dict[str, Any]) -> None:
        content["format"] = 4
        del content["doubt"]

    describe_again(saved, older)
    assert load_model(saved).doubt is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volumes": {"lung": {"cases": 3}}}, r"doubt names lung; the labels are liver, Niere, links"),
        ({"cases": -1}, r"doubt.cases: Input should be greater than or equal to 0"),
        ({"soft_dice": [0.5, 1.5]}, r"doubt.soft_dice.1: Input should be less than or equal to 1"),
        ({"soft_dice": []}, r"doubt has 52 cases without a score"),
        ({"speed": 1}, r"doubt.speed: "),
    ],
)
def test_impossible_held_out_cases_are_refused(change: dict[str, Any], message: str, saved: Path) -> None:
    describe_again(saved, lambda content: content.update(doubt=asdict(DOUBT) | change))
    with pytest.raises(ModelError, match=message):
        load_model(saved)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"lung": {}}, r"cleanup.lung.largest_component: Field required"),
        ({"liver": {"minimum_mm3": -1}}, r"cleanup.liver.minimum_mm3: Input should be greater than or equal to 0"),
        ({"liver": {"dice_after": 2}}, r"cleanup.liver.dice_after: Input should be less than or equal to 1"),
        ({"liver": {"cases": -3}}, r"cleanup.liver.cases: Input should be greater than or equal to 0"),
        ({"liver": {"speed": 1}}, r"cleanup.liver.speed: "),
        ({"lung": None}, r"cleanup names lung; the labels are liver, Niere, links"),
    ],
)
def test_an_impossible_clean_up_is_refused(entry: dict[str, Any], message: str, saved: Path) -> None:
    whole = asdict(CleanupDecision(True, 0.0, False, cases=12, dice_before=0.8, dice_after=0.85))
    (name, change), *_ = entry.items()
    decided = whole if change is None else whole | change if change else {}
    describe_again(saved, lambda content: content.update(cleanup={name: decided}))
    with pytest.raises(ModelError, match=message):
        load_model(saved)


def test_a_run_folder_stands_for_its_model(saved: Path) -> None:
    assert load_model(saved.parent).path == saved
    assert load_model(str(saved.parent)).sha256 == load_model(saved).sha256


def test_saving_twice_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    assert save_model(load_model(saved), tmp_path / "new" / "m.safetensors").read_bytes() == saved.read_bytes()


def test_weights_in_another_memory_order_are_saved_too(tmp_path: Path) -> None:
    model = make_model(1)
    x = torch.randn(1, 6, 20, 24)
    expected = model.networks["coronal.0"](x)
    model.networks["coronal.0"].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    again = load_model(save_model(model, tmp_path / "m.safetensors"))
    assert torch.allclose(again.networks["coronal.0"](x), expected, atol=1e-6)


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_flipped_byte_in_the_weights_is_noticed(saved: Path, place: str) -> None:
    blob = bytearray(saved.read_bytes())
    start = len(blob) - len(split(bytes(blob))[1])
    blob[{"first": start, "middle": (start + len(blob)) // 2, "last": -1}[place]] ^= 1
    saved.write_bytes(blob)
    with pytest.raises(ModelError, match=r"model\.safetensors: does not match its digest; .*fetch it"):
        load_model(saved)


@pytest.mark.parametrize("kept", [0, 4, 8, 500, -1])
def test_a_truncated_file_is_refused(saved: Path, kept: int) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"model\.safetensors: is not a readable safetensors file"):
        load_model(saved)


@pytest.mark.parametrize("content", [b"hello world, no model", b"\x00" * 64, b"{}", b"\xff" * 200])
def test_other_files_are_refused(saved: Path, content: bytes) -> None:
    saved.write_bytes(content)
    with pytest.raises(ModelError, match="is not a readable safetensors file"):
        load_model(saved)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [lambda trap, path: path.write_bytes(pickle.dumps(trap)), torch.save])
def test_a_pickle_is_never_opened(saved: Path, write: Callable[[Trap, Path], object]) -> None:
    sprung = saved.parent / "sprung"
    write(Trap(sprung), saved)
    with pytest.raises(ModelError, match="is not a readable safetensors file"):
        load_model(saved)
    assert not sprung.exists()


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"volseg": "null"}, {"volseg": "[1]"}])
def test_other_peoples_safetensors_are_refused(saved: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(3)}, saved, metadata=metadata)
    with pytest.raises(
        ModelError, match=r"is a safetensors file but not a volseg model; train one with `volseg train`"
    ):
        load_model(saved)


def test_metadata_that_is_no_json_is_refused(saved: Path) -> None:
    save_file({"weight": torch.zeros(3)}, saved, metadata={"volseg": "{"})
    with pytest.raises(ModelError, match="is not a readable safetensors file"):
        load_model(saved)


def test_a_newer_format_is_refused_by_name(saved: Path) -> None:
    describe_again(saved, lambda content: content.update(format=FORMAT + 1))
    words = f"has model format {FORMAT + 1}, this volseg reads up to {FORMAT}; update volseg"
    with pytest.raises(ModelError, match=words):
        load_model(saved)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = make_model()
    with torch.no_grad():
        next(model.networks["coronal.1"].parameters())[0] = float("nan")
    path = save_model(model, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"description is damaged \(network coronal.1 has weights that are not finite"):
        load_model(path)


@pytest.mark.parametrize("key", ["config", "labels", "channel_names"])
def test_a_missing_entry_is_refused_by_name(saved: Path, key: str) -> None:
    describe_again(saved, lambda content: content.pop(key))
    with pytest.raises(ModelError, match=f"the model's description is damaged .*{key}"):
        load_model(saved)


@pytest.mark.parametrize("value", [None, "", "0" * 64, "f" * 64, 5, ["0" * 64], {}])
def test_a_missing_or_wrong_digest_is_refused(saved: Path, value: object) -> None:
    describe_again(saved, lambda content: content.update(digest=value), sealed=False)
    with pytest.raises(ModelError, match=r"does not match its digest; the file is damaged or was edited, fetch it"):
        load_model(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["labels"].reverse(),
        lambda content: content["channel_names"].reverse(),
        lambda content: content["config"]["preparation"]["normalisation"].reverse(),
        lambda content: content["config"]["preparation"].update(spacing_mm=[0.8, 2.5, 1 / 4]),
        lambda content: content.update(temperature=1.5),
        lambda content: content.update(modalities=["MR", "MR"]),
        lambda content: content.update(version="0.0.1"),
        lambda content: content.update(fingerprint="0"),
        lambda content: content.update(format=FORMAT - 1),
        lambda content: content.update(more=1),
        lambda content: content.pop("modalities"),
    ],
)
def test_whatever_is_edited_in_the_description_is_noticed(
    saved: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    describe_again(saved, change, sealed=False)
    with pytest.raises(ModelError, match=r"does not match|do not match"):
        load_model(saved)


def test_tensors_that_change_places_are_noticed(saved: Path) -> None:
    header, tensors = split(saved.read_bytes())
    first, second = (f"net.coronal.{n}.head.weight" for n in (0, 1))
    header[first], header[second] = header[second], header[first]
    saved.write_bytes(join(header, tensors))
    with pytest.raises(ModelError, match="does not match its digest"):
        load_model(saved)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_byte_can_change(saved: Path, data: st.DataObject) -> None:
    """Anywhere in the file, in its header as often as in its tensors; nor can any be left out or added."""
    whole = saved.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    low, high = data.draw(st.sampled_from([(0, 8), (8, header), (header, len(whole))]))
    place = data.draw(st.integers(low, high - 1))
    bits = data.draw(st.integers(1, 255))
    changed = data.draw(
        st.sampled_from(
            [
                whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :],
                whole[:place] + whole[place + 1 :],
                whole[:place] + bytes([bits]) + whole[place:],
                whole[:place],
            ]
        )
    )
    path = saved.with_name("changed.safetensors")
    path.write_bytes(changed)
    with pytest.raises(ModelError, match=r"changed\.safetensors: "):
        load_model(path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"format": 3, "labels": ' + '{"a": ' * 5000,
        '{"format": ' + "9" * 5000 + "}",
        "\ud800",
        '"',
        "nul",
    ],
    ids=lambda text: text[:12],
)
def test_a_description_that_no_parser_likes_is_refused(saved: Path, text: str) -> None:
    header, tensors = split(saved.read_bytes())
    header["__metadata__"]["volseg"] = text
    saved.write_bytes(join(header, tensors))
    with pytest.raises(ModelError, match=r"is not a readable safetensors file \(.{3,300}\)$"):
        load_model(saved)


@pytest.mark.parametrize("length", [1 << 25, 1 << 40, (1 << 64) - 1])
def test_a_header_that_is_longer_than_any_is_not_read(saved: Path, length: int) -> None:
    blob = saved.read_bytes()
    with saved.open("wb") as stream:
        stream.write(struct.pack("<Q", length) + blob[8:])
        stream.truncate(1 << 26)
    with pytest.raises(ModelError, match=f"its header has {length} bytes; expected at most 16777216"):
        load_model(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"config": 3},
        {"config": {"network": {"levels": 2, "depth": 7}}},
        {"config": {"network": {"levels": None}}},
        {"config": {"network": {"levels": 3, "width": 4}}},
        {"config": {"network": {"levels": 2, "width": 8000, "max_width": 8000}}},
        {"labels": 3},
        {"labels": []},
        {"labels": [{"value": 3}]},
        {"labels": [{"value": 0, "name": "liver", "colour": [0, 0, 0]}]},
        {"labels": [{"value": 3, "name": 5, "colour": [0, 0, 0]}]},
        {"labels": [{"value": 3, "name": "one label less", "colour": [0, 0, 0]}]},
        {"labels": [{"value": 2**70, "name": "liver", "colour": [0, 0, 0]}] * 2},
        {"labels": [{"value": 3, "name": "a\0b", "colour": [0, 0, 0]}, {"value": 4, "name": "c", "colour": [0, 0, 0]}]},
        {
            "labels": [
                {"value": 3, "name": "twice", "colour": [0, 0, 0]},
                {"value": 3, "name": "c", "colour": [0, 0, 0]},
            ]
        },
        {"labels": [{"value": 3, "name": "c", "colour": [0, 0]}, {"value": 4, "name": "d", "colour": [0, 0, 0]}]},
        {"channel_names": 2},
        {"modalities": 5},
        {"modalities": ["MR"]},
        {"modalities": [1, 2]},
        {"fingerprint": 3},
        {"version": None},
        {"more": 3},
        {"channel_names": ["one channel less"]},
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_refused(saved: Path, change: dict[str, Any]) -> None:
    describe_again(saved, lambda content: content.update(change))
    with pytest.raises(ModelError, match=r"model\.safetensors: the model's description is damaged \(.+\)$"):
        load_model(saved)


@pytest.mark.parametrize("temperature", [0, -0.5, float("nan"), float("inf"), "-inf", "warm", None, [1.0]], ids=str)
def test_a_temperature_that_is_none_is_refused(saved: Path, temperature: object) -> None:
    describe_again(saved, lambda content: content.update(temperature=temperature))
    with pytest.raises(ModelError, match=r"model\.safetensors: the model's description is damaged \(.+\)$"):
        load_model(saved)


@pytest.mark.parametrize(
    ("section", "key", "value", "name"),
    [
        ("preparation", "spacing_mm", [0.8, 1e-9, 0.3], "config.preparation.spacing_mm.1"),
        ("preparation", "spacing_mm", [0.8, 0, 0.3], "config.preparation.spacing_mm.1"),
        ("preparation", "spacing_mm", [0.8, 1e300, 0.3], "config.preparation.spacing_mm.1"),
        ("preparation", "neighbours", 10**30, "config.preparation.neighbours"),
        ("preparation", "planes", ["oblique"], "config.preparation.planes.0"),
        ("network", "width", 10**9, "config.network.width"),
        ("network", "levels", 99, "config.network.levels"),
        ("network", "dropout", -1, "config.network.dropout"),
        ("training", "slice_size", [10**9] * 3, "config.training.slice_size.0"),
    ],
)
def test_a_setting_out_of_its_range_is_named(saved: Path, section: str, key: str, value: object, name: str) -> None:
    describe_again(saved, lambda content: content["config"][section].update({key: value}))
    with pytest.raises(ModelError, match=rf"the model's description is damaged \({re.escape(name)}: .*\(got "):
        load_model(saved)


def test_weights_that_the_settings_do_not_need_are_named(saved: Path) -> None:
    describe_again(saved, lambda content: content["config"]["network"].update(width=8))
    with pytest.raises(ModelError, match=r"of network coronal\.0 is F32 \[8.*\]; its settings need F32 \[16"):
        load_model(saved)


def as_format_2(path: Path) -> Path:
    """Rewrite a file as it was written until now, with a digest of the tensors alone."""
    tensors = load_model(path).sha256

    def change(content: dict[str, Any]) -> None:
        del content["digest"]
        content.update(format=2, sha256=tensors)

    describe_again(path, change, sealed=False)
    return path


def test_a_file_of_format_2_is_read_with_a_warning(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = load_model(saved)
    old = load_model(as_format_2(saved))
    assert "checksum does not cover labels and settings" in caplog.text
    assert (old.config, old.labels, old.sha256) == (model.config, model.labels, model.sha256)
    for name, network in old.networks.items():
        expected = model.networks[name].state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())
    caplog.clear()
    assert load_model(save_model(old, saved)).digest == model.digest
    assert not caplog.text


@pytest.mark.parametrize("value", [None, "", "0" * 64, 5])
def test_a_file_of_format_2_must_match_its_checksum(saved: Path, value: object) -> None:
    describe_again(as_format_2(saved), lambda content: content.update(sha256=value), sealed=False)
    with pytest.raises(ModelError, match="the weights do not match their checksum"):
        load_model(saved)


def test_planes_have_networks_of_their_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    names = [f"{plane}.{fold}" for plane in ("axial", "sagittal") for fold in (0, "all")]
    networks = {name: make_generator(CONFIG, channels=2, labels=2).eval() for name in names}
    again = load_model(save_model(replace(make_model(), networks=networks), tmp_path / "m.safetensors"))
    x = torch.randn(1, 6, 20, 24)
    with torch.inference_mode():
        found, expected = ({n: float(g(x).sum()) for n, g in m.items()} for m in (again.networks, networks))
    assert found == expected
    assert len(set(found.values())) == 4


def test_a_model_without_networks_is_refused(tmp_path: Path) -> None:
    path = save_model(replace(make_model(), networks={}), tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="it holds no network"):
        load_model(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(InputError, match=r"model\.safetensors: no such model file; give a model\.safetensors, the"):
            load_model(path)


def test_an_unwritable_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        save_model(make_model(1), tmp_path / "out" / "model.safetensors")


def test_a_generator_has_room_for_neighbours_and_background() -> None:
    network = make_generator(CONFIG, channels=2, labels=2)
    assert (network.in_channels, network.classes) == (6, 3)
    assert np.isfinite(network(torch.zeros(1, 6, 8, 8)).detach().numpy()).all()

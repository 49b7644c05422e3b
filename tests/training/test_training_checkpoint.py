"""A checkpoint is loaded as saved, to the bit, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from volseg.errors import InputError, UsageError
from volseg.training.checkpoint import opened_checkpoint, save_checkpoint

CPU = torch.device("cpu")


def a_state() -> dict[str, Any]:
    torch.manual_seed(0)
    return {"step": 7, "learners": {"axial": {"weight": torch.randn(3, 4)}}, "rng": "{}", "fold": "all"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(a_state(), path)
    return path


def test_what_was_saved_comes_back(saved: Path) -> None:
    with opened_checkpoint(saved, CPU) as state:
        expected = a_state()
        assert torch.equal(state["learners"]["axial"].pop("weight"), expected["learners"]["axial"].pop("weight"))
        assert state == expected


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bit_can_change(saved: Path, data: st.DataObject) -> None:
    """A byte cannot be left out or added either."""
    whole = saved.read_bytes()
    place = data.draw(st.one_of(st.integers(0, 100), st.integers(0, len(whole) - 1)))
    byte = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
    damage = [whole[:place] + byte + whole[place + 1 :], whole[:place] + whole[place + 1 :]]
    damage += [whole[:place] + byte + whole[place:], whole[:place], whole + byte]
    path = saved.with_name("damaged.pt")
    path.write_bytes(data.draw(st.sampled_from(damage)))
    words = r"damaged\.pt: is not a usable checkpoint \(it does not .*\); put back a copy of it that is whole, or start"
    with pytest.raises(InputError, match=words), opened_checkpoint(path, CPU):
        pytest.fail("it was opened")


def test_one_without_a_digest_is_refused_by_name(saved: Path) -> None:
    torch.save(a_state(), saved)
    words = r"\(an older volseg wrote it, without a digest; that one can go on with it\)"
    with pytest.raises(InputError, match=words), opened_checkpoint(saved, CPU):
        pytest.fail("it was opened")


@pytest.mark.parametrize(
    "take",
    [
        lambda state: state["nothing"],
        lambda state: state["step"].dtype,
        lambda state: state["rng"][5],
        lambda state: state["step"] / 0,
        lambda state: torch.zeros(2).copy_(state["learners"]["axial"]["weight"]),
    ],
)
def test_what_does_not_fit_the_run_is_one_error(saved: Path, take: Any) -> None:
    words = r"checkpoint\.pt: is not a usable checkpoint \(.+\)"
    with pytest.raises(InputError, match=words), opened_checkpoint(saved, CPU) as state:
        take(state)
    with pytest.raises(UsageError, match=r"^mine$"), opened_checkpoint(saved, CPU):
        raise UsageError("mine")

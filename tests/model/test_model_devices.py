from __future__ import annotations

import pytest
import torch

from volseg.errors import UsageError
from volseg.model.devices import autocast, choose_device, has_fast_bf16


def test_auto_works_on_every_machine() -> None:
    device = choose_device()
    assert torch.ones(2, device=device).sum().item() == 2
    assert choose_device("auto") == device


def test_a_named_device_is_taken() -> None:
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "cuda:x", "meta", "hpu", "", "gpu"])
def test_devices_that_do_not_work_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--device {name}: cannot be used here .*; try auto, cpu or cuda"):
        choose_device(name)


def test_networks_run_in_bf16_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for native in (False, True):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda native=native: {"avx512_bf16": native})
        assert has_fast_bf16(cpu) is native
        with autocast(cpu):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is (torch.bfloat16 if native else torch.float32)
    assert not has_fast_bf16(torch.device("meta"))

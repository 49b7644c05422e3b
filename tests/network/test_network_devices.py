from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from volseg.errors import UsageError
from volseg.network.devices import Threads, autocast, choose_device, has_fast_bf16


def test_auto_works_on_every_machine() -> None:
    device = choose_device()
    assert torch.ones(2, device=device).sum().item() == 2
    assert choose_device("auto") == device


def test_a_named_device_is_taken() -> None:
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "cuda:x", "meta", "hpu", "", "gpu"])
def test_devices_that_do_not_work_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--device {name}: cannot be used here .*; what works is auto, cpu"):
        choose_device(name)


@pytest.mark.parametrize("count", [0, 2])
def test_only_what_works_is_advised(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(UsageError, match=r"^--device abacus: cannot be used here") as caught:
        choose_device("abacus")
    advice = str(caught.value).rpartition("what works is ")[2].split(", ")
    assert [name for name in advice if "cuda" in name] == [f"cuda:{number}" for number in range(count)]


def test_networks_run_in_bf16_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for native in (False, True):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda native=native: {"avx512_bf16": native})
        assert has_fast_bf16(cpu) is native
        with autocast(cpu):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is (torch.bfloat16 if native else torch.float32)
    assert not has_fast_bf16(torch.device("meta"))


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("quickest", [1, 2, 4])
@pytest.mark.usefixtures("four_threads")
def test_as_many_threads_as_are_quickest(quickest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def convolve(*_: Tensor) -> None:
        time.sleep(0.0 if torch.get_num_threads() == quickest else 0.002)

    threads = Threads()
    monkeypatch.setattr("volseg.network.devices.torch.conv2d", convolve)
    threads.adjust()
    assert torch.get_num_threads() == quickest
    torch.set_num_threads(3)
    threads.adjust()  # too early for another trial
    assert torch.get_num_threads() == 3
    threads.next_trial = 0
    threads.adjust()
    assert torch.get_num_threads() == quickest


@pytest.mark.usefixtures("four_threads")
def test_the_number_that_the_environment_says_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr("volseg.network.devices.torch.conv2d", None)
    Threads().adjust()
    assert torch.get_num_threads() == 4

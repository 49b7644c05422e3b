from __future__ import annotations

import os
import subprocess
import sys

import pytest

from volseg.files.processes import is_gone, process_mark

_PRINT_MARK = "from volseg.files.processes import process_mark; print(process_mark(), flush=True); input()"


def test_a_process_is_gone_when_it_has_ended_and_not_before() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _PRINT_MARK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    mark = child.stdout.readline().strip()
    assert mark.endswith(f"-{child.pid}")
    assert not is_gone(mark)
    child.communicate("\n")
    assert is_gone(mark)


@pytest.mark.parametrize("mark", ["00000000-{gone}", "{gone}", "", "-", "{machine}-", "{machine}-x", "{machine}-{own}"])
def test_what_is_not_known_to_be_gone_is_not(mark: str) -> None:
    machine = process_mark().partition("-")[0]
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    assert not is_gone(mark.format(machine=machine, gone=child.stdout.strip(), own=os.getpid()))


def test_a_number_that_no_process_has_is_left_alone() -> None:
    machine = process_mark().partition("-")[0]
    assert not is_gone(f"{machine}-{10**30}")

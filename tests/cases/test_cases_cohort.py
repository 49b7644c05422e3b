"""One scan that fails, however, is one failure; the others are done, and nothing of it stays in memory."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from threshold_model import run

import volseg
from volseg.cases import case_run, output_table, plan
from volseg.cases.cohort import process_cases
from volseg.cases.inputs import collect_cases
from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import UsageError, VolsegError
from volseg.network.file import Model, save_model


@pytest.fixture
def three(scan: Volume, tmp_path: Path) -> list[str | Path]:
    for name in "abc":
        volseg.write(scan, tmp_path / f"{name}.nii.gz")
    return [tmp_path / f"{name}.nii.gz" for name in "abc"]


class StrangeError(Exception):
    """An exception that no list foresees."""


REASONS = [
    (MemoryError(), "b.nii.gz: does not fit into memory (MemoryError)"),
    (np._core._exceptions._ArrayMemoryError((3,), np.dtype("f8")), "does not fit into memory (Unable to allocate"),  # type: ignore[attr-defined]
    (torch.OutOfMemoryError("CUDA out of memory. Tried"), "b.nii.gz: does not fit into memory (CUDA out of memory"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "does not fit into memory"),
    (RecursionError("maximum recursion depth"), "b.nii.gz: unexpected RecursionError: maximum recursion depth"),
    (RuntimeError("mat1 and mat2"), "b.nii.gz: unexpected RuntimeError: mat1 and mat2"),
    (OSError(28, "No space left on device"), "No space left on device"),
    (KeyError("x"), "b.nii.gz: unexpected KeyError: 'x'"),
    (StopIteration(), "b.nii.gz: unexpected StopIteration: StopIteration"),
    (StrangeError("?"), "b.nii.gz: unexpected StrangeError: ?"),
]


def failing(usual: Callable[..., Any], error: BaseException, at: int) -> Callable[..., Any]:
    calls = 0

    def work(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise error
        return usual(*arguments, **options)

    return work


@pytest.mark.parametrize("stage", [(plan, "find_scan_files"), (case_run, "predict_scan"), (output_table, "write")])
@pytest.mark.parametrize(("error", "reason"), REASONS)
def test_whatever_a_case_raises_is_its_failure(
    model: Model,
    three: list[str | Path],
    tmp_path: Path,
    stage: tuple[ModuleType, str],
    error: Exception,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(*stage, failing(getattr(*stage), error, 2))
    first, second, third = run(model, three, tmp_path / "out")
    assert first.error is third.error is None
    assert isinstance(second.error, VolsegError)
    assert reason in str(second.error)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "c", "failures.json"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_all_and_tidies_up(
    model: Model, three: list[str | Path], tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_table, "write", failing(output_table.write, error(), 2))
    with pytest.raises(error, match=r"^$"):
        run(model, three, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_a_failure_holds_nothing_in_memory(
    model: Model, three: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[weakref.ref[object]] = []

    def watched(model: Model, volumes: list[Volume], **options: object) -> None:
        prediction = np.zeros((100, 100))
        seen.extend([weakref.ref(volumes[0]), weakref.ref(prediction)])
        raise MemoryError from ValueError("low")

    monkeypatch.setattr(case_run, "predict_scan", watched)
    results = run(model, three, tmp_path / "out")
    assert all(result.error is not None and result.error.__traceback__ is None for result in results)
    gc.collect()
    assert [ref() for ref in seen] == [None] * 6


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
def test_a_scan_that_does_not_fit_into_memory_does_not_end_the_cohort(three: list[str | Path], tmp_path: Path) -> None:
    save_model(model_that_is_saved(), tmp_path / "model.safetensors")
    grid = Grid.from_spacing((300, 300, 300))
    values = np.random.default_rng(1).integers(0, 4, 27_000).astype(np.int16)
    volseg.write(Volume(np.resize(values, grid.shape), grid), tmp_path / "b.nii.gz")
    code = (
        "import resource, sys, torch, volseg.cli, volseg.prediction.inference, volseg.io.images.nifti\n"
        "import volseg.cases.cohort\n"
        "torch.set_num_threads(1)\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 150 * 2**20,) * 2)\n"
        "command = sys.argv[1:]\n"
        "for debug in ([], ['--debug']):\n"
        "    sys.argv[1:] = debug + command\n"
        "    try:\n"
        "        volseg.cli.main()\n"
        "    except SystemExit as end:\n"
        "        print(f'ended by {end.code}', file=sys.stderr)\n"
    )
    command = ["predict", *map(str, three), "-m", str(tmp_path / "model.safetensors"), "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    texts = done.stderr.split("ended by 3\n")
    assert texts.pop() == ""
    for text, debug in zip(texts, (False, True), strict=True):
        assert "[2/3]" in text
        assert f"error: b: {three[1]}: does not fit into memory" in text
        assert ("Traceback" in text) == debug
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "c", "failures.json"}


def model_that_is_saved() -> Model:
    from volseg.config import parse_config
    from volseg.core.labelmap import Label
    from volseg.network.file import make_generator

    axial = {"planes": ["axial"], "spacing_mm": [0.8, 0.9, 3], "normalisation": [{"kind": "zscore"}]}
    config = parse_config({"preparation": axial, "network": {"width": 2, "levels": 1}})
    labels = (Label(1, "a", (1, 2, 3)),)
    return Model(config, labels, ("MR",), {"axial.0": make_generator(config, channels=1, labels=1)})


def test_a_broken_archive_in_a_folder_is_one_failure(model: Model, scan: Volume, tmp_path: Path) -> None:
    import shutil

    from volseg.io.dicom.writing import write_dicom_series

    for number in range(2):
        folder = tmp_path / "slices" / str(number)
        write_dicom_series(scan.with_array(scan.array + number), folder, description="T1")
        shutil.make_archive(str(tmp_path / "cohort" / f"patient_{number}"), "zip", folder)
    (tmp_path / "cohort" / "patient_2.zip").write_bytes((tmp_path / "cohort" / "patient_1.zip").read_bytes()[:3000])
    results = run(model, [tmp_path / "cohort"], tmp_path / "out")
    assert [result.error is None for result in results] == [True, True, False]
    assert "patient_2.zip: is a damaged zip archive" in str(results[2].error)
    inputs = []
    for record in (tmp_path / "out").glob("*/run.json"):
        inputs.append(json.loads(record.read_text(encoding="utf-8"))["input"])
    assert sorted(inputs) == [["patient_0.zip"], ["patient_1.zip"]]


def test_run_json_says_nothing_of_the_machine_unless_asked(
    model: Model, three: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where, shown in ((tmp_path, "a.nii.gz"), (tmp_path.parent, f"{tmp_path.name}/a.nii.gz"), (Path("/"), None)):
        monkeypatch.chdir(where)
        (result,) = run(model, three[:1], tmp_path / "out", overwrite=True)
        text = result.files[-1].read_text(encoding="utf-8")
        if shown is not None:
            assert json.loads(text)["input"] == [shown]
            assert str(tmp_path) not in text
        assert run(model, three[:1], tmp_path / "out")[0].skipped
    (result,) = run(model, three[:1], tmp_path / "out", overwrite=True, full_paths=True)
    assert json.loads(result.files[-1].read_text(encoding="utf-8"))["input"] == [Path(three[0]).as_posix()]
    assert run(model, three[:1], tmp_path / "out")[0].skipped


def test_a_device_that_is_not_there_is_no_fault_of_the_cases(
    model: Model, three: list[str | Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--device nonsense: cannot be used here"):
        list(process_cases(model, collect_cases([*map(str, three)], channels=1), tmp_path / "out", device="nonsense"))
    assert not (tmp_path / "out").exists()

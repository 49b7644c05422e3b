"""Hostile input: the answer of each volseg command to it, and the memory and time that it takes.

    python benchmarks/hostile.py [--only WORD] [--markdown FILE] [FILE ...]

The script makes bombs, false headers, pipes and other such inputs in a temporary folder. The command that would meet
each runs in a process of its own. FILEs are tried too, by the command that fits their name. The script prints exit
code, last line, peak memory, seconds and processor seconds of each. It ends with 1 if a command ended in a traceback or
by a signal, took more than 1.5 GB, or more than 120 s.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from hostile_files import CASES

MOST_MB, MOST_SECONDS = 1500, 120
HEAD = (
    "# Hostile input",
    "",
    "The answers of the commands, by `python benchmarks/hostile.py --markdown benchmarks/hostile.md`,",
    f"{date.today()}, {os.cpu_count()} cores. Peak memory is that of the largest process. An answer is wrong if it is",
    f"a traceback or an end by a signal, or takes more than {MOST_MB} MB or {MOST_SECONDS} s by the clock (other",
    "programs may run at the same time).",
    "",
)
SCANS = (".nii", ".gz", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".zip", "")
MESHES = (".obj", ".ply", ".stl", ".vtp", ".vtm")


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    name: str
    command: str
    code: int
    last: str
    traceback: bool
    mb: float
    seconds: float
    cpu: float

    @property
    def faults(self) -> str:
        """The faults found, or an empty text."""
        found = {
            "traceback": self.traceback,
            "signal": self.code < 0 or (self.code > 128 and self.code != 130),
            "memory": self.mb > MOST_MB,
            "time": self.seconds > MOST_SECONDS,
        }
        return ", ".join(name for name, is_so in found.items() if is_so)


def run(name: str, arguments: list[str], folder: Path) -> Result:
    """Run a command in a folder and measure it, its children too."""
    output = folder / "output.txt"
    with output.open("wb") as stream:
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "volseg", *arguments],
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            start_new_session=True,
        )
        timer = threading.Timer(MOST_SECONDS + 10, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    text = output.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return Result(
        name,
        " ".join(arguments),
        process.returncode,
        next((line for line in reversed(lines) if line.startswith("error:")), lines[-1] if lines else ""),
        "Traceback" in text or "unexpected" in text,
        usage.ru_maxrss / 1024,
        seconds,
        usage.ru_utime + usage.ru_stime,
    )


def given(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Give the commands for a file: inspect for a scan, view for a mesh, train for a config, predict for a model."""
    suffix = path.suffix.lower()
    if suffix in MESHES:
        yield path.name, ["view", str(path), "--screenshot", "picture.png"]
    elif suffix in (".yaml", ".yml"):
        yield path.name, ["train", "dataset", "-o", "run", "--plan-only", "--config", str(path)]
    elif suffix == ".safetensors":
        yield path.name, ["predict", "scan.nii.gz", "-m", str(path), "-o", "out"]
    elif suffix in (".tsv", ".json"):
        yield path.name, ["mesh", "scan.nii.gz", "--labels", str(path), "-o", "meshes"]
    elif suffix in SCANS:
        yield path.name, ["inspect", str(path)]


def cases(folder: Path, only: str, files: list[Path]) -> Iterator[tuple[str, list[str]]]:
    """Make each input and give its name and command."""
    if files:
        made("", folder)
    for path in files:
        yield from given(path.resolve())
    for name in CASES if not files or only else ():
        if name and only in name:
            inside = folder / name.replace(" ", "-")
            inside.mkdir()
            for command in made(name, inside):
                yield name, [word.replace("@", str(inside)) for word in command.split()]


def made(name: str, folder: Path) -> list[str]:
    """Make an input in a process of its own, as a child process starts with the peak memory of its parent."""
    command = [sys.executable, str(Path(__file__).with_name("hostile_files.py")), name, str(folder)]
    maker = subprocess.run(command, capture_output=True, text=True, check=False)
    if maker.returncode:  # no pipes or devices here
        print(f"{name}: not made here ({maker.stderr.strip().splitlines()[-1]})", file=sys.stderr)
        return []
    return list(json.loads(maker.stdout))


def row(result: Result) -> str:
    """One line of the table."""
    last = result.last.replace("|", "/")
    last = last if len(last) < 150 else f"{last[:100]} ... {last[-45:]}"
    command = re.sub(r"\S+/", "", result.command)
    cells = (result.name, command, result.code, f"{result.mb:.0f}", f"{result.seconds:.1f}")
    return f"| {' | '.join(map(str, cells))} | {result.cpu:.1f} | {result.faults} | {last} |"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run volseg on hostile input.")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--only", default="", help="Only inputs with this word in their name.")
    parser.add_argument("--markdown", type=Path, help="Where to write the table.")
    options = parser.parse_args()
    lines = [
        "| input | command | exit | peak MB | s | CPU s | wrong | last line |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in cases(Path(folder), options.only, options.files):
            result = run(name, arguments, Path(folder))
            faults += bool(result.faults)
            lines.append(row(result).replace(folder, "."))
            print(lines[-1], flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join([*HEAD, *lines]) + "\n", encoding="utf-8")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())

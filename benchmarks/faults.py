"""Faults while volseg writes: kills, full disks and two processes at once. Results must stay complete.

    python benchmarks/faults.py [--minutes N] [--seed N]

It runs on Linux or macOS. Commands run on a made-up scan and two small untrained models, each from a state with earlier
results, in a forked process that has volseg loaded. They are disturbed in these ways:

* event: SIGKILL before the n-th change of a file or folder, for each n in random order, then once more
* moment: SIGKILL at a random time
* SIGTERM: at a random time; the command must end by itself, with code 130, and tidy up
* limit: no file may grow beyond a random size, as on a full disk
* disk: a file system of its own (tmpfs) with room for a random part of the new files; skipped without root
* pair: a second process with the same command, for `predict` on another scan of the same name, and perhaps a kill

After each, the result is the complete old or new one, as its `run.json` says. Other results and the user's own files
are unchanged. Hidden files are left only after SIGKILL. Then the same command runs undisturbed: it ends with 0, the
result is the new one, and no hidden file is left. The script prints how often each state was found. It names every
violation, and its exit code is then 1.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fault_process import Child, Outcome, kill_at, limit_files, run
from fault_subjects import COMMANDS, Subject, digest, hidden, is_as_recorded, make_subject, make_world, state_of


class Trial:
    """One disturbed run of a command in a copy of its folder, and the violations found afterwards."""

    def __init__(self, subject: Subject, folder: Path, chance: random.Random) -> None:
        self.subject, self.folder, self.chance = subject, folder, chance
        self.wrong: list[str] = []
        self.found = ""
        self.left = 0

    def run(self, fault: str) -> None:
        getattr(self, f"_{fault}")()
        self._check_states()
        self._check_others()
        self._run_again()

    def _event(self) -> None:
        at = self.subject.next_event(self.chance)
        outcome = run(self.folder, self.subject.command.line, lambda: kill_at(self.folder, at))
        self._expect(outcome, 0, -signal.SIGKILL)

    def _moment(self) -> None:
        child = Child(self.folder, self.subject.command.line)
        child.kill(signal.SIGKILL, self.chance.uniform(0, 1.1 * self.subject.seconds))
        self._expect(child.wait(), 0, -signal.SIGKILL)

    def _SIGTERM(self) -> None:  # noqa: N802
        child = Child(self.folder, self.subject.command.line)
        child.kill(signal.SIGTERM, self.chance.uniform(0.1, 1.1) * self.subject.seconds)
        # Before the command has begun, nothing takes it.
        outcome = child.wait()
        self._expect(outcome, 0, 130, -signal.SIGTERM)
        self._expect_nothing_left()

    def _limit(self) -> None:
        size = int(self.subject.bytes ** self.chance.uniform(0, 1.1))
        outcome = run(self.folder, self.subject.command.line, lambda: limit_files(size))
        self._expect_full(outcome)

    def _disk(self) -> None:
        """Run on a file system with room for the existing files and a part of the new ones."""
        there = sum(file.stat().st_size // 4096 + 1 for file in self.subject.template.rglob("*"))
        size = (there + int(self.chance.uniform(2, 40))) * 4096
        disk = self.folder.with_name("disk")
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
        try:
            small = disk / "world"
            shutil.copytree(self.subject.template, small)
            self._expect_full(run(small, self.subject.command.line))
            shutil.rmtree(self.folder)
            shutil.copytree(small, self.folder)
        except OSError:  # not even the beginning has room
            self.found = "no room"
        finally:
            subprocess.run(["umount", disk], check=True)
            disk.rmdir()

    def _pair(self) -> None:
        other = self.subject.command.pair or self.subject.command.line
        children = [Child(self.folder, self.subject.command.line), Child(self.folder, other)]
        killed = self.chance.choice([None, 0, 1])
        if killed is not None:
            children[killed].kill(signal.SIGKILL, self.chance.uniform(0, 1.5 * self.subject.seconds))
        for number, child in enumerate(children):
            self._expect(child.wait(), 0, *([-signal.SIGKILL] if number == killed else []))
        if killed is None:
            self._expect_nothing_left()
        if self.subject.command.pair:
            self._check_pair(other)

    def _check_pair(self, other: str) -> None:
        """See that both scans have a case each, of the labels that the models say, whoever was first."""
        for command in (self.subject.command.line, other):
            self._expect(run(self.folder, command), 0)
        cases = [case for case in (self.folder / "out").glob("scan*") if case.is_dir()]
        alone = self.folder.with_name("alone")
        shutil.copytree(self.subject.template, alone)
        shutil.rmtree(alone / "out")
        wanted = set()
        for command in (self.subject.command.line, other):
            run(alone, command).check()
            wanted |= {digest(file) for file in (alone / "out").glob("scan*/labels.nii.gz")}
        shutil.rmtree(alone)
        if {digest(case / "labels.nii.gz") for case in cases} != wanted or len(cases) != 2:
            self.wrong.append(f"two scans have {len(cases)} cases, or those of others")
        self.found = "both"
        # Whoever was first has the plain name; the rest looks at the first scan's.
        for case in cases:
            if not is_as_recorded(case):
                self.wrong.append(f"{case.name} is not as its run.json says")
            shutil.rmtree(case)

    def _expect(self, outcome: Outcome, *codes: int) -> None:
        if outcome.code not in codes or "Traceback" in outcome.said:
            self.wrong.append(f"ended with {outcome.code}: {outcome.said.strip()[-300:]}")

    def _expect_full(self, outcome: Outcome) -> None:
        self._expect(outcome, 0, 1)
        if outcome.code and "cannot be written" not in outcome.said:
            self.wrong.append(f"says nothing of the disk: {outcome.said.strip()[-300:]}")

    def _expect_nothing_left(self) -> None:
        if left := hidden(self.folder):
            self.wrong.append(f"left {left[:3]}")

    def _check_states(self) -> None:
        if self.found:
            return
        result = self.subject.result(self.folder)
        now = state_of(result)
        self.left = len(hidden(self.folder))
        self.found = "new" if now == self.subject.new else "old" if now == self.subject.old else "neither"
        if self.found == "neither":
            self.wrong.append(f"{result.name} is neither old nor new: {now and sorted(now)}")
        if now is not None and result.parent.name == "out" and not is_as_recorded(result):
            self.wrong.append(f"{result.name} is not as its run.json says")

    def _check_others(self) -> None:
        for name in ("out/bystander", "out/notes.txt", "scan.nii.gz", "series", "one", "two"):
            if state_of(self.folder / name) != state_of(self.subject.template / name):
                self.wrong.append(f"{name} has changed")

    def _run_again(self) -> None:
        self._expect(run(self.folder, self.subject.command.line), 0)
        if state_of(self.subject.result(self.folder)) != self.subject.new:
            self.wrong.append("the next run does not give the new result")
        self._expect_nothing_left()


def can_mount(scratch: Path) -> bool:
    disk = scratch / "probe"
    disk.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
        )
        if done.returncode == 0:
            subprocess.run(["umount", disk], check=True)
        return done.returncode == 0
    except OSError:
        return False
    finally:
        disk.rmdir()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    counts: dict[tuple[str, str], Counter[str]] = {}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name).resolve()
        (scratch / "world").mkdir()
        make_world(scratch / "world")
        faults = ["event", "moment", "SIGTERM", "limit", *(["disk"] if can_mount(scratch) else []), "pair"]
        subjects = [
            make_subject(c, scratch / "world", scratch / f"template {n}", scratch) for n, c in enumerate(COMMANDS)
        ]
        end = time.monotonic() + 60 * options.minutes
        # File events come more often than other faults, as there are many of them.
        for subject, fault in itertools.cycle([(s, f) for f in [*faults, *["event"] * 9] for s in subjects]):
            if time.monotonic() > end:
                break
            folder = scratch / "trial"
            shutil.copytree(subject.template, folder)
            trial = Trial(subject, folder, chance)
            trial.run(fault)
            tally = counts.setdefault((subject.command.name, fault), Counter())
            tally.update(["runs", trial.found, *(["left"] if trial.left else []), *(["wrong"] * bool(trial.wrong))])
            wrong += [f"{subject.command.name}, {fault}: {reason}" for reason in trial.wrong]
            shutil.rmtree(folder)
    report(counts, {subject.command.name: subject.coverage for subject in subjects}, wrong)
    return 1 if wrong else 0


def report(counts: dict[tuple[str, str], Counter[str]], coverage: dict[str, str], wrong: Sequence[str]) -> None:
    print("| command | fault | runs | old result | new result | hidden files left, then swept | violations |")
    print("|---|---|---|---|---|---|---|")
    for (command, fault), found in sorted(counts.items()):
        fault_shown = f"{fault}, {coverage[command]}" if fault == "event" else fault
        cells = (found["runs"], found["old"], found["new"] + found["both"], found["left"], found["wrong"])
        print(f"| {command} | {fault_shown} | {' | '.join(map(str, cells))} |")
    total = sum((found for found in counts.values()), Counter[str]())
    print(f"\n{total['runs']} disturbed runs, {total['wrong']} with violations")
    for reason in wrong:
        print(f"violation: {reason}")


if __name__ == "__main__":
    sys.exit(main())

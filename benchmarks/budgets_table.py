"""The rows of `budgets.py` as tables and as a picture."""

import json
import math
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from volseg.evaluation import Statistics, summarise

Rows = list[dict]


def print_tables(folder: Path, picture: Path) -> None:
    rows = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    if not rows:
        print(f"{folder}: has no rows yet")
        return
    figure = Figure(layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    # Minutes of different processors cannot be compared.
    groups: dict[tuple, Rows] = {}
    for row in sorted(rows, key=lambda row: (row["set"], row["fold"], row["processor"])):
        groups.setdefault((row["set"], row["fold"], row["processor"]), []).append(row)
    figure.set_size_inches(4.2 * len(groups), 3.6)
    for number, ((name, fold, processor), chosen) in enumerate(groups.items(), 1):
        print_set(f"{name}, fold {fold}, {processor}", chosen)
        draw_set(figure.add_subplot(1, len(groups), number), f"{name}, fold {fold}\n{processor}", chosen)
    figure.savefig(picture, dpi=100)


def print_set(name: str, rows: Rows) -> None:
    minutes = sorted({row["minutes"] for row in rows})
    cases = rows[0]["dice"]["cases"]
    print(f"\n### {name}, {cases} held-out cases\n")
    print("Class-mean Dice / HD95 mm (steps) by CPU minutes:\n")
    print(f"| system | {' | '.join(f'{m:g}' for m in minutes)} |\n|---{'|---' * len(minutes)}|")
    for system in systems_of(rows):
        cells = [cell(pick(rows, system, m)) for m in minutes]
        print(f"| {system} | {' | '.join(cells)} |")
        if any("without_cleanup" in row for row in rows if label(row) == system):
            cells = [bare_cell(pick(rows, system, m)) for m in minutes]
            print(f"| {system}, without its clean-up | {' | '.join(cells)} |")
    newest = newest_volseg(rows)
    lines = []
    for system in systems_of(rows):
        found = [difference(pick(rows, newest, m), pick(rows, system, m)) for m in minutes]
        if system != newest and any(found):
            lines.append(f"| {system} | {' | '.join(found)} |")
    if lines:
        print(f"\n{newest} minus each, paired over cases [95 %]:\n")
        print(f"| system | {' | '.join(f'{m:g}' for m in minutes)} |\n|---{'|---' * len(minutes)}|")
        print("\n".join(lines))


def label(row: dict) -> str:
    return f"{row['system']} {row['version']}".strip()


def systems_of(rows: Rows) -> list[str]:
    """Return the systems, volseg's versions first, from the oldest row to the newest."""
    ordered = sorted(rows, key=lambda row: (row["system"] != "volseg", row["system"], row["date"]))
    return list(dict.fromkeys(label(row) for row in ordered))


def newest_volseg(rows: Rows) -> str:
    ours = [system for system in systems_of(rows) if system.startswith("volseg")]
    return ours[-1] if ours else ""


def pick(rows: Rows, system: str, minutes: float) -> Rows:
    """Return the rows of a system at a budget, one a seed."""
    return [row for row in rows if label(row) == system and row["minutes"] == minutes]


def cell(rows: Rows) -> str:
    return show(rows, np.mean([row["steps"] for row in rows])) if rows else ""


def bare_cell(rows: Rows) -> str:
    return show([row.get("without_cleanup", row) for row in rows]) if rows else ""


def show(rows: Rows, steps: float | None = None) -> str:
    """Describe rows; several seeds are averaged case by case."""
    found = summarise(list(case_means(rows, "dice_by_case").values()))
    distance = np.mean(list(case_means(rows, "hd95_mm_by_case").values()))
    text = f"{found.mean:.3f}{interval(found, '.3f')} / {distance:.1f}"
    return text if steps is None else f"{text} ({steps:.0f})"


def case_means(rows: Rows, column: str) -> dict[str, float]:
    """Return the mean over labels, and over seeds, of each case."""
    return {
        case: float(np.mean([np.mean(list(row[column][case].values())) for row in rows])) for case in rows[0][column]
    }


def difference(ours: Rows, theirs: Rows) -> str:
    if not ours or not theirs:
        return ""
    mine, other = case_means(ours, "dice_by_case"), case_means(theirs, "dice_by_case")
    found = summarise([value - other[case] for case, value in mine.items()])
    return f"{found.mean:+.3f}{interval(found, '+.3f')}"


def interval(found: Statistics, digits: str) -> str:
    """Return the 95 % interval, of which there is none below 5 cases."""
    return "" if math.isnan(found.low) else f" [{found.low:{digits}}, {found.high:{digits}}]"


def draw_set(axes: object, name: str, rows: Rows) -> None:
    for system in systems_of(rows):
        minutes = sorted({row["minutes"] for row in rows if label(row) == system})
        heights = [np.mean([row["dice"]["mean"] for row in pick(rows, system, m)]) for m in minutes]
        axes.plot(minutes, heights, marker="o", label=system)
    ticks = sorted({row["minutes"] for row in rows})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_title(name)
    axes.set_xlabel("CPU minutes")
    axes.set_ylabel("class-mean Dice")
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)

r"""The arms of a comparison that `budget_volseg.py` trained: their Dice, and the paired differences between them.

    python benchmarks/arms.py results/spacing_spine.json [--against ARM]
    python benchmarks/arms.py results/NEW.json --add RUN --set-name spine --arm '2 mm' --minutes 5 --code COMMIT \
        --settings preparation.spacing_mm=[4,2,2]

The file is printed: each arm's difference to the first one, or to ARM, over the cases that both have. With ``--add``
the scores that a run has in ``validation.json``, before clean-up, become a row of it first.
"""

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

from budgets import processor

from volseg.evaluation import summarise

HERE = Path(__file__).parent


def make_row(options: argparse.Namespace) -> dict[str, Any]:
    scores = json.loads((options.add / "validation.json").read_text(encoding="utf-8"))
    lines = (options.add / "log.jsonl").read_text(encoding="utf-8").splitlines()
    events = {event["event"]: event for event in map(json.loads, lines)}
    training = events["plan"]["config"]["training"]
    row = {"set": options.set_name, "fold": events["plan"]["fold"], "arm": options.arm, "settings": options.settings}
    row |= {"code": options.code}
    row |= {"cpu_minutes": options.minutes, "seed": training["seed"], "date": f"{date.today():%Y-%m-%d}"}
    row |= {"processor": processor(), "batch_size": training["batch_size"], "steps": events["final"]["step"]}
    return row | {"dice": scores["mean"], "by_label": scores["per_label"], "by_case": scores["by_case"]}


def print_arms(rows: list[dict[str, Any]], against: str | None) -> None:
    base = next(row for row in rows if against in (None, row["arm"]))
    print(f"| arm | CPU minutes | steps | cases | class-mean Dice | difference to {base['arm']} [95 %] |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        told = ""
        if row is not base:
            pairs = [value - base["by_case"][case] for case, value in row["by_case"].items() if case in base["by_case"]]
            found = summarise(pairs)
            told = f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        cells = [row["arm"], row["cpu_minutes"], row["steps"], len(row["by_case"]), f"{row['dice']:.4f}", told]
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=lambda text: HERE / text)
    parser.add_argument("--against", metavar="ARM")
    parser.add_argument("--add", type=Path, metavar="RUN")
    for name in ("--set-name", "--arm", "--code"):
        parser.add_argument(name)
    parser.add_argument("--settings", nargs="*", default=[], help="that the run was given with --set")
    parser.add_argument("--minutes", type=float, help="CPU minutes that the run was given")
    chosen = parser.parse_args()
    known = json.loads(chosen.file.read_text(encoding="utf-8")) if chosen.file.exists() else []
    if chosen.add:
        known.append(make_row(chosen))
        chosen.file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    print_arms(known, chosen.against)

"""The rows of the index: one for each case and each failure, the worst first, and the same as CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from volseg.files.plain_text import plain
from volseg.reporting.case_view import CaseView
from volseg.reporting.ratings import Rating

_MOST_COLUMNS = 6  # of volumes in the index


class Volume(BaseModel):
    """Volume and pieces of a label; the interval where the model has one."""

    model_config = ConfigDict(frozen=True)

    label: str
    ml: float
    low_ml: float | None = None
    high_ml: float | None = None
    pieces: int


class Row(BaseModel):
    """A case of the index.

    Parameters
    ----------
    case : str
    error : str
        Why it failed; empty if it did not.
    expected_dice, dice_low, dice_high : float, optional
    percentile : float, optional
        Of held-out cases that are as doubtful or more.
    flags : tuple of str
        Sentences.
    serious : bool
        Whether one of them is.
    volumes : tuple of Volume
    rated_labels : str
    rating : Rating, optional
    """

    model_config = ConfigDict(frozen=True)

    case: str
    error: str = ""
    expected_dice: float | None = None
    dice_low: float | None = None
    dice_high: float | None = None
    percentile: float | None = None
    flags: tuple[str, ...] = ()
    serious: bool = False
    volumes: tuple[Volume, ...] = ()
    rated_labels: str = ""
    rating: Rating | None = None

    @classmethod
    def of(cls, view: CaseView, rating: Rating | None) -> Row:
        """Take from a case what the index shows.

        Parameters
        ----------
        view : CaseView
        rating : Rating, optional
        """
        low, high = view.doubt.interval or (None, None)
        volumes = []
        for one in view.measured:
            least, most = one.doubt.interval_ml or (None, None)
            size = one.size
            volumes.append(
                Volume(
                    label=size.label.name,
                    ml=round(size.volume_ml, 4),
                    low_ml=None if least is None else round(least, 4),
                    high_ml=None if most is None else round(most, 4),
                    pieces=size.pieces,
                )
            )
        return cls(
            case=view.case,
            expected_dice=view.doubt.expected_dice,
            dice_low=low,
            dice_high=high,
            percentile=view.doubt.percentile,
            flags=tuple(flag.text for flag in view.flags),
            serious=any(flag.serious for flag in view.flags),
            volumes=tuple(volumes),
            rated_labels=view.rated_labels,
            rating=rating,
        )

    @property
    def badness(self) -> tuple[Any, ...]:
        """A key by which the worst comes first: failures, serious flags, the lowest expected Dice, most flags."""
        dice = 1.0 if self.expected_dice is None else self.expected_dice
        return not self.error, not self.serious, dice, -len(self.flags), self.case


def worst_first(rows: Iterable[Row]) -> list[Row]:
    """Sort rows.

    Parameters
    ----------
    rows : iterable of Row
    """
    return sorted(rows, key=lambda row: row.badness)


def label_names(rows: Sequence[Row]) -> list[str]:
    """Return the names of all labels, in the order in which the cases have them.

    Parameters
    ----------
    rows : sequence of Row
    """
    return list(dict.fromkeys(volume.label for row in rows for volume in row.volumes))


def shown_labels(rows: Sequence[Row]) -> list[str]:
    """Return the labels that have a column in the index; the largest ones, where they are too many for it.

    Parameters
    ----------
    rows : sequence of Row
    """
    names = label_names(rows)
    if len(names) <= _MOST_COLUMNS:
        return names
    total = dict.fromkeys(names, 0.0)
    for row in rows:
        for volume in row.volumes:
            total[volume.label] += volume.ml
    largest = sorted(names, key=lambda name: -total[name])[:_MOST_COLUMNS]
    return [name for name in names if name in largest]


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[object]]]:
    """Return columns and cells of a table, without the ratings.

    Parameters
    ----------
    rows : sequence of Row
    """
    names = label_names(rows)
    columns = ["case", "error", "expected_dice", "dice_low", "dice_high", "percentile", "flags"]
    for name in names:
        columns += [f"{name} {what}" for what in ("ml", "low_ml", "high_ml", "pieces")]
    cells = []
    for row in rows:
        line: list[object] = [row.case, row.error]
        line += [row.expected_dice, row.dice_low, row.dice_high, row.percentile, " ".join(row.flags)]
        volumes = {volume.label: volume for volume in row.volumes}
        for name in names:
            one = volumes.get(name)
            line += [None] * 4 if one is None else [one.ml, one.low_ml, one.high_ml, one.pieces]
        cells.append(line)
    return columns, cells


def told(row: Row) -> dict[str, Any]:
    """Return a row for JSON.

    Parameters
    ----------
    row : Row
    """
    content = row.model_dump(exclude={"rated_labels", "rating"})
    content["rating"] = None if row.rating is None else row.rating.model_dump(exclude={"case"})
    content["flags"] = [plain(text) for text in row.flags]
    return content

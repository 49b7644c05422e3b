"""The report of a folder of predicted cases: its files, and which of them have to be made anew."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from volseg._version import __version__
from volseg.cases.failures import read_failures
from volseg.cases.outputs import LABELS, PAGE
from volseg.errors import InputError, OutputError
from volseg.files.atomic import check_free, check_writable, write_text
from volseg.files.plain_text import plain
from volseg.files.regular import read_json
from volseg.files.tables import as_cell, write_table
from volseg.io.case_record import RECORD, CaseRecord, read_record
from volseg.progress import Progress, ignore_progress
from volseg.reporting.case_view import labels_digest, view_case
from volseg.reporting.pages import Pages
from volseg.reporting.pictures import Picture
from volseg.reporting.ratings import Rating, read_ratings
from volseg.reporting.rows import Row, table, told, worst_first

_LOG = logging.getLogger(__name__)
REPORT, _INDEX, _CASES, _MADE = "report", "index.html", "cases", ".made.json"
_LARGEST = 1 << 30

Images = Path | Mapping[str, Sequence[Path]] | None


class _Made(BaseModel):
    """A page that is there: what it was made from, and what the index needs of it."""

    model_config = ConfigDict(frozen=True)

    key: str
    row: Row
    thumbnail: Picture | None = None
    has_scan: bool = False


@dataclass
class _Folder:
    """The folder of a report, and what an earlier call has made in it."""

    path: Path
    earlier: dict[str, _Made] = field(default_factory=dict)

    def page(self, case: str) -> Path:
        return self.path / _CASES / f"{case}.html"

    @classmethod
    def opened(cls, path: Path, *, overwrite: bool) -> _Folder:
        """Look at a folder; one that holds something else than a report is refused."""
        earlier: dict[str, _Made] = {}
        if (path / _MADE).is_file():
            try:
                for case, entry in read_json(path / _MADE, most=_LARGEST).items():
                    earlier[case] = _Made.model_validate(entry)
            except (InputError, ValidationError, AttributeError):
                earlier = {}
        else:
            check_free([path], overwrite=overwrite)
        return cls(path, {} if overwrite else earlier)

    def begin(self) -> None:
        """Mark the folder as that of a report, so that one that is interrupted is gone on with."""
        self._note(self.earlier)

    def _note(self, made: Mapping[str, _Made]) -> None:
        write_text(self.path / _MADE, json.dumps({case: entry.model_dump() for case, entry in made.items()}))

    def close(self, made: Mapping[str, _Made]) -> None:
        """Remember what was made, and remove the pages of cases that are gone."""
        self._note(made)
        for case in self.earlier.keys() - made.keys():
            self.page(case).unlink(missing_ok=True)


def report(
    output: str | Path,
    *,
    images: str | Path | Mapping[str, Sequence[Path]] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Make a report of predicted cases: an index, the worst first, and a page for each case.

    The files are in ``OUT/report``: ``index.html``, ``cases/<case>.html``, and the index as ``cases.csv`` and
    ``cases.json``. They open by double click and need no network. Only what has changed since an earlier call is made
    anew. Ratings that were saved from the pages (``*rating*.json``) are read from the folders OUT, ``OUT/report`` and
    of the cases. Names of patients are not shown; a case is called as its folder is.

    Parameters
    ----------
    output : path
        A folder with a folder for each case, as `volseg predict` writes it.
    images : path or dict of str to paths, optional
        A folder with the scans, under the names of the cases; or the paths of each case's channels. By default each
        scan is looked for where ``run.json`` says. Without its scan a case has pictures of its labels alone.
    overwrite : bool
        Make every page anew, also in a folder ``OUT/report`` that something else has written.
    progress : Progress, optional
        Called with ("cases", cases done, cases in all).

    Returns
    -------
    Path
        The index.

    Raises
    ------
    InputError
        There are no predicted cases.
    OutputError
        The report cannot be written, or its folder holds something else.

    Examples
    --------
    >>> import volseg
    >>> volseg.report("out")
    Traceback (most recent call last):
        ...
    volseg.errors.InputError: out: no such folder; give the output folder of `volseg predict`
    """
    output, show = Path(output), progress or ignore_progress
    scans: Images = Path(images) if isinstance(images, str | Path) else images
    records = _records(output)
    folder = _Folder.opened(output / REPORT, overwrite=overwrite)
    check_writable(folder.path)
    folder.begin()
    ratings = read_ratings([output, folder.path, *(output / case for case in records)])
    failed = [Row(case=one.case, error=one.error) for one in read_failures(output)]
    if not records and not failed:
        raise InputError(f"{output}: has no predicted cases; give the output folder of `volseg predict`")
    pages, made = Pages(), dict[str, _Made]()
    for number, (case, record) in enumerate(records.items()):
        show("cases", number, len(records))
        rating = ratings.get((case, labels_digest(record)))
        given = scans.get(case) if isinstance(scans, Mapping) else scans
        made[case] = _case(folder, pages, output / case, record, (given, rating))
    show("cases", len(records), len(records))
    rows = worst_first([*failed, *(entry.row for entry in made.values())])
    _write_index(folder.path, pages, output.resolve().name, rows, made)
    folder.close(made)
    return folder.path / _INDEX


def _records(output: Path) -> dict[str, CaseRecord]:
    """Find the cases of a folder, by the name of their folders."""
    if not output.is_dir():
        raise InputError(f"{output}: no such folder; give the output folder of `volseg predict`")
    if read_record(output) is not None:
        raise InputError(f"{output}: is the folder of one case; give the folder that it lies in")
    found = {}
    for path in sorted(output.iterdir()):
        record = None if path.name.startswith(".") or not path.is_dir() else read_record(path)
        if record is not None:
            found[path.name] = record
    return found


def _case(
    folder: _Folder,
    pages: Pages,
    case: Path,
    record: CaseRecord,
    given: tuple[Path | Sequence[Path] | None, Rating | None],
) -> _Made:
    """Make the page of a case, unless it is there as it would be made now."""
    images, rating = given
    key = _key(case, images, rating)
    earlier = folder.earlier.get(case.name)
    # Without its scan a case is tried again, as that may be there now.
    if earlier is not None and earlier.has_scan and earlier.key == key and folder.page(case.name).is_file():
        return earlier
    try:
        view = view_case(case, record, images)
        write_text(folder.page(case.name), pages.case(view, rating))
    except OutputError:
        raise
    except Exception as error:  # noqa: BLE001 (a record of another form must not end the report of all others)
        _LOG.warning("%s: is reported as failed: %s", case.name, error)
        folder.page(case.name).unlink(missing_ok=True)
        return _Made(key=key, row=Row(case=case.name, error=plain(str(error).replace(str(case), case.name))))
    return _Made(key=key, row=Row.of(view, rating), thumbnail=view.thumbnail, has_scan=not view.without_scan)


def _key(case: Path, images: Path | Sequence[Path] | None, rating: Rating | None) -> str:
    """Return a digest of what the page of a case is made from."""
    states: list[Any] = [__version__, str(images), None if rating is None else rating.model_dump()]
    scan = [images] if isinstance(images, Path) else list(images or ())
    for path in (case / RECORD, case / LABELS, case / PAGE, *scan):
        found = path.stat() if path.exists() else None
        states.append((path.name, found and (found.st_size, found.st_mtime_ns)))
    return hashlib.sha256(repr(states).encode("utf-8", "backslashreplace")).hexdigest()


def _write_index(folder: Path, pages: Pages, title: str, rows: Sequence[Row], made: Mapping[str, _Made]) -> None:
    thumbnails = {case: entry.thumbnail for case, entry in made.items() if entry.thumbnail is not None}
    write_text(folder / _INDEX, pages.index(title, rows, thumbnails))
    columns, cells = table(rows)
    rated = [[row.rating.rating, row.rating.comment, row.rating.date] if row.rating else [None] * 3 for row in rows]
    lines = [[*line, *rating] for line, rating in zip(cells, rated, strict=True)]
    write_table(folder / "cases.csv", [*map(as_cell, columns), "rating", "comment", "rated"], lines)
    write_text(folder / "cases.json", json.dumps([told(row) for row in rows], indent=2) + "\n")

"""The page of a training: in a browser without a network, with hostile names, and while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, opened_browser

from volseg.core.labelmap import Label
from volseg.files.atomic import write_text
from volseg.watching import progress_page
from volseg.watching.curves import Curves, Event
from volseg.watching.progress_page import Album, Card, State, Summary, write_page
from volseg.watching.sample_picture import SampleFile, write_samples
from volseg.watching.samples import SampleSlice
from volseg.watching.verdict import Verdict

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">${x} & 'y'"
LABELS = (Label(1, HOSTILE, (200, 60, 60)), Label(2, "bar", (60, 60, 200)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as browser:
        yield browser


def events(steps: int) -> list[Event]:
    found: list[Event] = [{"event": "plan", "config": {"preparation": {"planes": ["axial"]}}}]
    for step in range(10, 10 * steps + 1, 10):
        found.append({"event": "steps", "step": step, "losses": {"reconstruction": 5 / step}, "seconds": 1.0 * step})
        scores = {HOSTILE: 1 - 1 / step, "bar": None}
        found.append({"event": "validation", "step": step, "mean": 1 - 1 / step, "per_label": scores, "cases": 2})
    return found


def page(folder: Path, steps: int, state: State = "training") -> Path:
    """Write a page with a sample a step, in which a square grows."""
    reference = np.zeros((20, 24), np.uint8)
    reference[4:16, 4:16] = 1
    one = SampleSlice(HOSTILE, "axial", 0, 3, np.full((20, 24), 99, np.uint8), reference, (1.0, 1.0))
    files: list[SampleFile] = []
    for step in range(10, 10 * steps + 1, 10):
        output = np.zeros_like(reference)
        output[4 : 4 + step // 10] = 1
        files.append(write_samples(folder / "samples", step, [one], [output], LABELS))
    album = Album.of({"axial": [one]}, LABELS, learnt=False)
    verdict = Verdict("improving", HOSTILE, "--resume --minutes 4")
    summary = Summary(HOSTILE, state, (Card(HOSTILE, "1", HOSTILE),), verdict, (HOSTILE,))
    path = folder / "progress.html"
    write_text(path, write_page(summary, Curves.of(events(steps)), album, files))
    return path


def shown(browser: Browser) -> tuple[str, str, str]:
    """Step, score and output that are seen."""
    step, score, output = browser.run(
        '["#at", "#samples output"].map((name) => document.querySelector(name).textContent)'
        '.concat(document.querySelector("#samples .output").src)'
    )
    return step, score, output


def test_the_slider_goes_through_the_steps_without_a_network(browser: Browser, tmp_path: Path) -> None:
    browser.requests.clear()
    browser.complaints.clear()
    path = page(tmp_path, 3, "finished")
    assert browser.open(path) == "all"
    last = shown(browser)
    assert last[0] == "step 30 (3 of 3)"
    mark = browser.run('document.querySelector("svg .mark").getAttribute("x1")')
    browser.run('(() => { const s = document.getElementById("step"); s.value = 0; s.oninput(); })()')
    first = shown(browser)
    assert first[0] == "step 10 (1 of 3)"
    assert first[1] != last[1]
    assert first[2] != last[2]
    assert browser.run('document.querySelector("svg .mark").getAttribute("x1")') != mark
    browser.settle()
    assert browser.run("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert [url for url in browser.requests if not url.startswith("data:")] == [path.resolve().as_uri()]
    assert browser.complaints == []


def test_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    browser.open(page(tmp_path, 2))
    browser.settle()
    assert browser.run("document.title") == HOSTILE
    assert browser.run("document.querySelectorAll('img[onerror], body script').length") == 2  # data, and the page's own
    for selector in ("h1", ".card span", "#verdict", "footer p", "#scores tr:nth-child(2) td", "#samples .about"):
        assert HOSTILE in browser.run(f'document.querySelector("{selector}").textContent'), selector


def test_a_page_that_loads_itself_again_stays_at_the_step_that_is_looked_at(browser: Browser, tmp_path: Path) -> None:
    path = page(tmp_path, 2)
    browser.open(path)
    assert not browser.run('document.getElementById("again").hidden')
    browser.run('(() => { const s = document.getElementById("step"); s.value = 0; s.oninput(); })()')
    page(tmp_path, 4)
    browser.open(path)
    assert shown(browser)[0] == "step 10 (1 of 4)"
    browser.run('(() => { const s = document.getElementById("step"); s.value = 3; s.oninput(); })()')
    page(tmp_path, 5)
    browser.open(path)
    assert shown(browser)[0] == "step 50 (5 of 5)"


def test_light_and_dark(browser: Browser, tmp_path: Path) -> None:
    path, colours = page(tmp_path, 1, "finished"), []
    for dark in (False, True):
        browser.open(path, dark=dark)
        colours.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(243, 244, 246)", "rgb(15, 18, 22)"]


def test_many_steps_are_thinned_and_the_last_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = page(tmp_path, 8).read_text(encoding="utf-8")
    assert "steps are in this page" not in whole
    monkeypatch.setattr(progress_page, "_MOST_BYTES", 1500)
    text = page(tmp_path, 8).read_text(encoding="utf-8")
    assert "of 8 steps are in this page" in text
    assert '"step":80' in text
    assert '"step":70' not in text


def test_a_page_before_the_first_step_says_so() -> None:
    summary = Summary("title", "training", (), None, ())
    text = write_page(summary, Curves.of([]), Album.of({}, LABELS, learnt=True), [])
    assert "No curves yet" in text

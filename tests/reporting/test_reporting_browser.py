"""The report opened from disk in a browser without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, opened_browser
from reported_cases import ball_and_bar, doubt, unsure_at_the_bar, write_case

import volseg

VISIBLE = "[...document.querySelectorAll('#cases tbody tr:not([hidden]) .case')].map((cell) => cell.textContent)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "out"
    for name, expected, percentile in (("a", 0.9, 50.0), ("b & <b>", 0.6, 30.0), ("c", 0.95, 1.0)):
        known = doubt(expected, percentile=percentile)
        known["labels"] = {}
        scan, labels = ball_and_bar()
        write_case(out, name, scan, labels, doubt=known, unsure=unsure_at_the_bar(labels) if name == "a" else None)
    return volseg.report(out)


def press(browser: Browser, selector: str) -> None:
    browser.run(f'document.querySelector("{selector}").click()')


def test_the_index_sorts_and_filters(browser: Browser, index: Path) -> None:
    browser.requests.clear()
    browser.complaints.clear()
    assert browser.open(index) == "all"
    assert browser.run(VISIBLE) == ["c", "b & <b>", "a"]
    press(browser, "[data-column='1'] button")
    assert browser.run(VISIBLE) == ["b & <b>", "a", "c"]
    press(browser, "[data-column='1'] button")
    assert browser.run(VISIBLE) == ["c", "a", "b & <b>"]
    press(browser, "#flagged")
    assert browser.run(VISIBLE) == ["c"]
    press(browser, "#flagged")
    browser.run("(filter.value = '& <B', filter.oninput())")
    assert browser.run(VISIBLE) == ["b & <b>"]
    assert browser.run("document.getElementById('count').textContent") == "1 of 3"
    lines = browser.run("asCsv()").split("\n")
    assert [line.split(",")[0] for line in lines[:4]] == ["case", "c", "b & <b>", "a"]
    assert not browser.complaints
    assert [url for url in browser.requests if not url.startswith("data:")] == [index.as_uri()]


def test_a_rating_is_kept_and_seen_in_the_index_and_the_way_leads_on(browser: Browser, index: Path) -> None:
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(index)
    address = browser.follow("#cases tbody tr:nth-child(2) .case a")
    assert "cases/b%20%26%20%3Cb%3E.html#c/b" in address
    assert browser.run("document.getElementById('place').textContent") == "2 of 3"
    assert browser.run("document.getElementById('after').href").partition("#")[0].endswith("/a.html")
    browser.run("comment.value = '=1+1, \"quoted\"'")
    press(browser, "[data-rating='bad']")
    press(browser, "#outlines")
    assert browser.run("getComputedStyle(document.querySelector('.tile svg')).visibility") == "hidden"
    browser.open(index)
    assert browser.run("document.querySelector('#cases tbody tr:nth-child(2) .rated').textContent") == "bad"
    assert 'bad,"\'=1+1, ""quoted""",' in browser.run("asCsv()")
    (rating,) = browser.run("ratings()")
    assert (rating["case"], rating["rating"]) == ("b & <b>", "bad")
    assert len(rating["labels"]) == 12
    assert not browser.complaints
    assert all(url.startswith(("file:", "data:")) for url in browser.requests)


def test_light_dark_and_a_phone(browser: Browser, index: Path) -> None:
    colours = []
    for dark in (True, False):
        browser.open(index, dark=dark)
        colours.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]
    browser.open(index, size=(380, 800))
    assert browser.run("document.documentElement.scrollWidth") <= 380
    browser.open(index.parent / "cases" / "a.html", size=(380, 800))
    assert browser.run("document.documentElement.scrollWidth") <= 380


def test_doubt_lies_where_the_bar_is_when_it_is_switched_on(browser: Browser, index: Path) -> None:
    browser.complaints.clear()
    browser.open(index.parent / "cases" / "a.html")
    visible = "getComputedStyle(document.querySelector('.tile .doubt')).visibility"
    assert browser.run(visible) == "hidden"
    browser.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'd'}))")
    assert browser.run(visible) == "visible"
    assert "0.9 least sure here" in browser.run("document.querySelector('.scale').textContent")
    # The share of the picture at which the colours lie, and the box of the bar's outline: both of the first slice.
    low, high = browser.run(
        """(async () => {
          const image = document.querySelector(".tile .doubt"), canvas = document.createElement("canvas");
          await image.decode();
          [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          const data = context.getImageData(0, 0, canvas.width, canvas.height).data, places = [];
          for (let n = 0; n < data.length; n += 4)
            if (data[n + 3] > 128) places.push([(n / 4) % canvas.width, Math.floor(n / 4 / canvas.width)]);
          const ends = (axis) => [Math.min(...places.map((p) => p[axis])), Math.max(...places.map((p) => p[axis])) + 1];
          return [[ends(0)[0], ends(1)[0]], [ends(0)[1], ends(1)[1]]];
        })()"""
    )
    box = browser.run(
        "(({x, y, width, height}) => [x, y, x + width, y + height])(document.querySelector('.tile path').getBBox())"
    )
    assert [2 * place for place in (*low, *high)] == box  # outlines are in half pixels
    assert not browser.complaints
    browser.open(index.parent / "cases" / "c.html")
    assert browser.run("document.getElementById('unsure') === null")

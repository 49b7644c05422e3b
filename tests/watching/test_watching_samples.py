"""How samples look and what their scores are; their files, written and read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from volseg.core.agreement import AGREEMENT_COLOURS, ONLY_FIRST, ONLY_SECOND, OTHER
from volseg.core.labelmap import Label
from volseg.watching.sample_picture import read_samples, remove_samples, write_samples
from volseg.watching.samples import SampleSlice, Score, as_seen, differing, grey_values, picture_url, score

LABELS = (Label(2, "<b>ball</b>", (200, 60, 60)), Label(7, "b\u00e4r \u202e", (60, 60, 200)))


def a_slice(shape: tuple[int, int] = (12, 16), pixel_mm: tuple[float, float] = (1.0, 1.0)) -> SampleSlice:
    reference = np.zeros(shape, np.uint8)
    reference[2:6, 3:9], reference[8:10, 3:9] = 1, 2
    return SampleSlice("case", "axial", 4, 9, np.full(shape, 128, np.uint8), reference, pixel_mm)


def test_the_right_is_on_the_left_and_the_front_at_the_top() -> None:
    stacked = np.zeros((4, 6))  # axes grow to the right and to the front
    stacked[3, 5] = 1
    seen = as_seen(stacked)
    assert seen.shape == (6, 4)
    assert seen[0, 0] == 1


def test_grey_values_span_black_to_white_and_bear_a_constant() -> None:
    grey = grey_values(np.arange(1000.0).reshape(20, 50))
    assert (grey.min(), grey.max()) == (0, 255)
    assert grey_values(np.zeros((3, 3))).max() == 0


def test_scores_and_colours_of_differing_pixels() -> None:
    reference, output = np.array([[0, 1, 1, 2]]), np.array([[1, 1, 0, 1]])
    assert score(output, reference) == Score((2 / 5 + 0) / 2, 3)
    colours = differing(output, reference)[0]
    assert colours[:, 3].tolist() == [255, 0, 255, 255]
    for pixel, value in ((0, ONLY_FIRST), (2, ONLY_SECOND), (3, OTHER)):
        assert tuple(colours[pixel, :3]) == AGREEMENT_COLOURS[value]
    assert score(np.zeros((2, 2)), np.zeros((2, 2))).text == "0 pixels differ"


def test_large_pictures_are_made_smaller() -> None:
    small, large = picture_url(np.zeros((4, 4), np.uint8)), picture_url(np.zeros((2000, 1000, 4), np.uint8))
    assert small.startswith("data:image/png;base64,")
    assert len(large) < 3000


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    one = a_slice()
    output = one.reference.copy()
    output[2:6, 3] = 0
    written = write_samples(tmp_path, 285, [one], [output], LABELS)
    assert written.path.name == "step_000285_axial.png"
    assert written.views[0].score.differing == 4
    assert read_samples(tmp_path) == [written]


def test_the_picture_has_the_four_columns(tmp_path: Path) -> None:
    one = a_slice(pixel_mm=(1.0, 2.0))
    path = write_samples(tmp_path, 1, [one], [np.zeros_like(one.reference)], LABELS).path
    with Image.open(path) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}  # type: ignore[union-attr]
        assert image.width > 4 * 220
    assert {(128, 128, 128), (200, 60, 60), (60, 60, 200), AGREEMENT_COLOURS[ONLY_SECOND]} <= colours


def test_steps_are_in_order_and_later_ones_can_be_removed(tmp_path: Path) -> None:
    one = a_slice()
    for step in (20, 3, 1_000_000):
        write_samples(tmp_path, step, [one], [one.reference], LABELS)
    (tmp_path / "step_note.png").write_bytes(b"of the user")
    assert [file.step for file in read_samples(tmp_path)] == [3, 20, 1_000_000]
    remove_samples(tmp_path, after=20)
    assert [file.step for file in read_samples(tmp_path)] == [3, 20]
    assert (tmp_path / "step_note.png").exists()


@pytest.mark.parametrize(
    "note",
    [
        None,
        "no json",
        json.dumps([{"case": "x"}]),
        json.dumps(
            [{"case": "x", "index": 1, "score": {"dice": 1, "differing": 0}, "output": "http://x", "differing": ""}]
        ),
    ],
)
def test_foreign_and_damaged_files_are_left_out(note: str | None, tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    if note is not None:
        info.add_text("volseg-samples", note)
    Image.new("RGB", (4, 4)).save(tmp_path / "step_000001_axial.png", pnginfo=info)
    (tmp_path / "step_000002_axial.png").write_bytes(b"\x89PNG cut")
    assert read_samples(tmp_path) == []

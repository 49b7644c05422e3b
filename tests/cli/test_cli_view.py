from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from matplotlib.image import imread
from typer.testing import CliRunner

from volseg.cli.view_command import view
from volseg.errors import OutputError, RenderError, UsageError
from volseg.io import write
from volseg.phantoms import make_ct_phantom
from volseg.view import renderer
from volseg.webpage import scene_page

app = typer.Typer()
app.command()(view)


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("scan")
    phantom = make_ct_phantom(seed=3)
    return write(phantom.volume, folder / "scan.nii.gz")[0], write(phantom.labels, folder / "seg.nii.gz")[0]


def test_contact_sheet_is_written_and_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    scan, labels = files
    sheet = tmp_path / "sheet.png"
    assert run(scan, "-s", labels, "--contact-sheet", sheet, "--size", "800x600") == f"wrote {sheet}\n"
    assert imread(sheet).shape[1] == 800


def test_screenshot_is_written_and_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    if renderer.available_renderer() is None:
        pytest.skip("no renderer on this machine (libegl1 libgl1-mesa-dri, or libosmesa6)")
    picture = tmp_path / "view.png"
    assert run(*files, "--threshold", "200", "--screenshot", picture, "--size", "300x200") == f"wrote {picture}\n"
    assert imread(picture).shape[:2] == (200, 300)


def test_without_a_display_the_window_points_to_pictures(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renderer, "_has_display", lambda: False)
    with pytest.raises(RenderError, match=r"no window can be opened here .*--screenshot FILE\.png"):
        run(files[0])


def test_no_picture_is_written_if_the_other_has_a_wrong_name(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"b\.jpg; expected a name that ends in \.png"):
        run(files[0], "--contact-sheet", tmp_path / "a.png", "--screenshot", tmp_path / "b.jpg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["800", "0x600", "800x-3", "99999x600", "axb"])
def test_impossible_sizes_are_refused(size: str, files: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match=rf"--size {size}: expected WIDTHxHEIGHT"):
        run(files[0], "--size", size)


def test_page_is_written_and_named(files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_page, "_picture", lambda scan, meshes: "")
    scan, labels = files
    page = tmp_path / "scene.html"
    assert f"wrote {page}\n" in run(scan, "-s", labels, "--html", page)
    assert "<title>scan</title>" in page.read_text(encoding="utf-8")
    run(labels, "--html", tmp_path / "labels.html")
    assert "<title>seg</title>" in (tmp_path / "labels.html").read_text(encoding="utf-8")
    with pytest.raises(OutputError, match="is there already"):
        run(scan, "--html", page)
    with pytest.raises(UsageError, match=r"a\.txt; expected a name that ends in \.html"):
        run(scan, "--html", tmp_path / "a.txt")


def test_a_reference_is_compared_on_the_page(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_page, "_picture", lambda scan, meshes: "")
    scan, labels = files
    run(scan, "-s", labels, "--reference", labels, "--html", tmp_path / "scene.html")
    assert "both agree" in (tmp_path / "scene.html").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="--reference is not shown on a contact sheet; add --html"):
        run(scan, "-s", labels, "--reference", labels, "--contact-sheet", tmp_path / "sheet.png")


def test_a_picture_does_not_load_what_pages_need() -> None:
    """A page takes seconds to load; the name of a picture is refused after everything that a picture needs is there."""
    command = (
        "import sys\n"
        "from volseg.cli.view_command import view\n"
        "from volseg.errors import UsageError\n"
        "try:\n"
        "    view(['scan.nii.gz'], screenshot='scan.jpg', contact_sheet=None, size=None, html=None, reference=None,\n"
        "         turntable=None)\n"
        "except UsageError as error:\n"
        "    print(error, 'volseg.webpage' in sys.modules)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", command], check=True, capture_output=True, text=True, timeout=300
    ).stdout
    assert told == "name of the picture is scan.jpg; expected a name that ends in .png False\n"

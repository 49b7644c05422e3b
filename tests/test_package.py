"""The package as a whole: the modules that it loads, its exports, and the contents of its wheel."""

from __future__ import annotations

import importlib
import inspect as python_inspect
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import volseg

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "monai", "vtk", "vtkmodules", "pyvista", "SimpleITK", "nibabel", "pydicom", "matplotlib", "scipy")


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after running `code`."""
    report = "import sys; print(*{m.partition('.')[0] for m in sys.modules}, file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(run.stderr.split())


def test_import_is_light() -> None:
    assert loaded_by("import volseg").isdisjoint(HEAVY)


def test_modules_are_attributes_and_loaded_when_first_used() -> None:
    modules = [m.name for m in pkgutil.iter_modules(volseg.__path__) if not m.name.startswith("_")]
    code = (
        "import volseg, sys\n"
        "loaded = [m for m in sys.modules if m.startswith('volseg.')]\n"
        "assert loaded == ['volseg._version'], loaded\n"
        f"for name in {modules}:\n"
        "    assert name in dir(volseg), name\n"
        "    assert getattr(volseg, name).__name__ == f'volseg.{name}'\n"
        "assert callable(volseg.view.show) and callable(volseg.surface.measure)"
    )
    loaded_by(code)
    assert "pyvista" not in loaded_by("import volseg; dir(volseg); volseg.core")


def test_help_is_light() -> None:
    code = "from volseg.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass"
    assert loaded_by(code).isdisjoint(HEAVY)


def test_predict_and_mesh_load_no_monai() -> None:
    code = "import volseg.cases, volseg.network.file, volseg.surface, volseg.io.mesh.formats, volseg.io.dicom.reading"
    assert "monai" not in loaded_by(code)


def test_surfaces_and_pictures_load_no_torch() -> None:
    code = "import volseg.cases.surfaces, volseg.cases.subject, volseg.io.mesh, volseg.surface, volseg.view"
    assert loaded_by(code).isdisjoint({"torch", "highdicom"})


def test_dicom_is_read_without_highdicom() -> None:
    assert "highdicom" not in loaded_by("import volseg.io.dicom, volseg.io.dicom.decoder")


def test_no_submodule_hides_a_public_function() -> None:
    functions = {name: getattr(volseg, name) for name in volseg.__all__}
    modules = [m.name for m in pkgutil.walk_packages(volseg.__path__, "volseg.")]
    for module in modules:
        if module != "volseg.__main__":
            importlib.import_module(module)
    for name, value in functions.items():
        assert getattr(volseg, name) is value
    assert not {m.rpartition(".")[2] for m in modules} & {n for n, v in functions.items() if callable(v)}


@pytest.mark.parametrize("name", volseg.__all__)
def test_help_of_every_public_name_is_enough(name: str) -> None:
    thing = getattr(volseg, name)
    text = python_inspect.getdoc(thing) or ""
    assert len(text) > 30
    if python_inspect.isfunction(thing):
        hints = python_inspect.signature(thing)
        assert all(p.annotation is not p.empty for p in hints.parameters.values())
        assert hints.return_annotation is not hints.empty


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        volseg.segment  # noqa: B018


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pytest.importorskip("hatchling", reason="the wheel is built without isolation, which needs hatchling")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
        names = archive.namelist()
    assert {"volseg/py.typed", "volseg/core/anatomy.tsv", "volseg/webpage/assets/page.html"} <= set(names)
    code = (
        "import volseg, volseg.config as c; print(volseg.__file__)\n"
        "print([c.load_config(preset=p).network.block for p in c.PRESETS])"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    where, blocks = run.stdout.splitlines()
    assert Path(where).is_relative_to(tmp_path)
    assert blocks == "['double', 'pix2pix', 'pix2pix']"

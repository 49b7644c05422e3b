from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from volseg.errors import RenderError
from volseg.webpage import niivue
from volseg.webpage.niivue import as_script, find_niivue


def bundle_of(module: str) -> str:
    return f'var before = 1, text = "{quote(module, safe="")}", after = "export{{x as y}}";'


def test_niivue_is_taken_out_of_the_installed_package() -> None:
    if importlib.util.find_spec("ipyniivue") is None:
        pytest.skip("ipyniivue is not installed (the extra html)")
    found = find_niivue()
    assert found is not None
    for name in ("Niivue", "NVImage", "NVMesh"):
        assert f"{name}:" in found.script[-2000:]
    assert "</script" not in found.script.lower()
    assert "Redistribution and use" in found.licence


def test_exports_become_properties_in_a_scope_of_their_own() -> None:
    module = f"var a=1;/*{'x' * 500_000}*/class Niivue{{}}export{{a as b,Niivue}};"
    script = as_script(bundle_of(module))
    assert script.startswith('(()=>{"use strict";var a=1;')
    assert script.endswith("globalThis.niivue={b:a,Niivue:Niivue}})();")


def test_bundle_without_the_module_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "widget.js").write_text("export default 1", encoding="utf-8")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(niivue, "find_spec", lambda name: spec)
    with pytest.raises(RenderError, match=r"NiiVue is not found in it .*pip install 'ipyniivue>=2\.3\.2,<3'"):
        find_niivue.__wrapped__()


def test_without_the_package_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(niivue, "find_spec", lambda name: None)
    assert find_niivue.__wrapped__() is None

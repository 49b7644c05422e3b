from __future__ import annotations

import pytest

from volseg.webpage import scene_page


@pytest.fixture
def without_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the picture of the scene, which takes seconds; the tests in the browser have it."""
    monkeypatch.setattr(scene_page, "_picture", lambda scan, meshes: "")

"""A scene as a pyvista plotter, for pictures of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from volseg.core.volume import Volume
from volseg.errors import RenderError
from volseg.view.content import Meshes, make_scene
from volseg.view.renderer import ADVICE, WINDOW_CLASS, available_renderer

if TYPE_CHECKING:
    import pyvista as pv


def scene(
    *,
    meshes: Meshes = (),
    volume: Volume | None = None,
    size: tuple[int, int] = (1200, 900),
    off_screen: bool | None = None,
    doubt: Volume | None = None,
) -> pv.Plotter:
    """Draw meshes and three orthogonal slices of a scan into a pyvista plotter, to go on with.

    What `save_screenshot` draws is in the plotter's first renderer, which is active, in world mm RAS+; the legend has a
    renderer of its own. Add to it, then `show` it, also in a notebook, or write a `screenshot`. Unlike the other
    functions of this package it draws in this process.

    Parameters
    ----------
    meshes, volume, size, doubt
        As for `save_screenshot`.
    off_screen : bool, optional
        Whether no window is wanted. Default: as pyvista decides.

    Returns
    -------
    pyvista.Plotter

    Raises
    ------
    InputError
        Neither a mesh with faces nor a scan is given.
    UsageError
        Doubt is given without a scan.
    GeometryError
        The doubt lies beside the scan.
    RenderError
        No renderer works on this machine; the message says what to install.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> phantom = make_ct_phantom(seed=0)
    >>> meshes = volseg.extract_surfaces(phantom.labels)
    >>> plotter = volseg.view.scene(meshes=meshes, volume=phantom.volume, off_screen=True)  # doctest: +SKIP
    >>> plotter.add_points(meshes[0].vertices[:1], color="white", point_size=20)  # doctest: +SKIP
    >>> plotter.screenshot("with_point.png")  # doctest: +SKIP
    """
    content = make_scene(meshes=meshes, volume=volume, doubt=doubt)
    renderer = available_renderer()
    if renderer is None:
        raise RenderError(f"nothing on this machine can draw 3D pictures; {ADVICE}")
    with _window_class(renderer):
        from volseg.view.drawing import draw_scene

        plotter: pv.Plotter = draw_scene(content, size, off_screen=off_screen).plotter
    return plotter


@contextmanager
def _window_class(name: str) -> Iterator[None]:
    """Let VTK make windows of a class that works here; without a name, of its own choice."""
    before = os.environ.get(WINDOW_CLASS)
    try:
        if name:
            os.environ[WINDOW_CLASS] = name
        yield
    finally:
        os.environ.pop(WINDOW_CLASS, None)
        if before is not None:
            os.environ[WINDOW_CLASS] = before

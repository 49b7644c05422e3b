"""The window: a scene with slices that move, and surfaces to switch on and off."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from volseg.core.grid import Grid
from volseg.view.camera import direction
from volseg.view.content import Scene, bounds_of
from volseg.view.drawing import divide, draw_scene, look, write_titles
from volseg.view.keys import help_entries, press
from volseg.view.window_parts import Panel, Space, plane_at
from volseg.view.window_state import VIEWS, Limits, WindowState

_HEADLESS = {"vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow"}
_SLIDERS = 3
_STEPS = 201  # places of a plane without a scan
_FIRST = 10.0  # before the camera, which has 0


def open_window(scene: Scene, size: tuple[int, int]) -> None:
    """Open a window, and return when it is closed.

    Parameters
    ----------
    scene : Scene
        Movable.
    size : (int, int)
        Width and height in pixels.
    """
    window = Window(scene, size)
    if window.plotter.render_window.GetClassName() in _HEADLESS:
        sys.exit("VTK finds no display that it can use")
    window.listen()
    window.plotter.show(title=f"volseg: {scene.title}")


class Window:
    """A scene, and the state that it shows.

    Parameters
    ----------
    scene : Scene
        Movable.
    size : (int, int)
    off_screen : bool
        For a picture of the window.
    """

    def __init__(self, scene: Scene, size: tuple[int, int], *, off_screen: bool = False) -> None:
        grid = _grid_of_planes(scene)
        self.state = first_state(scene, grid)
        entries = help_entries(self.state.limits)
        self._drawn = draw_scene(scene, size, off_screen=off_screen, sliders=_SLIDERS, entries=entries)
        self.plotter: Any = self._drawn.plotter
        self._space, self._panel = Space(self._drawn, grid), Panel(self._drawn, grid)
        self._held: int | None = None  # the slider that the mouse holds
        for part in (
            self._space.show_slices,
            self._panel.show_legend,
            self._panel.show_texts,
            self._panel.show_sliders,
        ):
            part(self.state)
        # VTK tells no new size where a key is followed while the size changes, so each drawing looks at it.
        self.plotter.render_window.AddObserver("StartEvent", lambda *_: self.fit())

    def change(self, state: WindowState) -> None:
        """Show another state.

        Parameters
        ----------
        state : WindowState
        """
        before, self.state = self.state, state
        if state == before:
            return
        if state.closed:
            self.plotter.close()
            return
        for part, names in self._parts():
            if any(getattr(before, name) != getattr(state, name) for name in names):
                part(state)
        self.plotter.render()

    def fit(self) -> None:
        """Place and write everything for the size that the window has; letters keep a size that can be read."""
        size = tuple(self.plotter.render_window.GetSize())
        if size == self._drawn.layout.size or min(size) < 1:
            return
        divide(self._drawn, self._drawn.layout_of(size))
        write_titles(self._drawn)
        self.state = self.state.scrolled(0, self._drawn.layout.rows)
        for part in (self._panel.show_legend, self._panel.show_texts, self._panel.show_sliders, self._panel.show_scale):
            part(self.state)

    def listen(self) -> None:
        """Follow keys, the mouse and the size of the window."""
        interactor = self.plotter.iren.interactor
        self.plotter.render_window.AddObserver("WindowResizeEvent", lambda *_: self.plotter.render())
        self.plotter.iren.clear_key_event_callbacks()
        # An observer of the style takes the place of VTK's own keys, such as w for wire frames and e for the end.
        interactor.GetInteractorStyle().AddObserver("CharEvent", _ignore)
        interactor.AddObserver("KeyPressEvent", lambda *_: self.change(press(self.state, interactor.GetKeySym())))
        for event, follow in (
            ("LeftButtonPressEvent", lambda: self.click(*self._mouse())),
            ("RightButtonPressEvent", lambda: self.click(*self._mouse(), alone=True)),
            ("MouseMoveEvent", lambda: self.drag(self._mouse()[0])),
            ("LeftButtonReleaseEvent", self.release),
            ("MouseWheelForwardEvent", lambda: self.wheel(*self._mouse(), 1, self._with_shift())),
            ("MouseWheelBackwardEvent", lambda: self.wheel(*self._mouse(), -1, self._with_shift())),
        ):
            _observe(interactor, event, follow)

    def click(self, x: float, y: float, *, alone: bool = False) -> bool:
        """Follow a click into the legend or on a slider, and return whether there was something to click on.

        Parameters
        ----------
        x, y : float
            Fractions of the window.
        alone : bool
            Whether the structure is to be shown alone.
        """
        layout = self._drawn.layout
        row, slider = layout.row_at(x, y), layout.slider_at(x, y)
        if row is not None:
            row += self.state.first
            self.change(self.state.only(row) if alone else self.state.switched(row))
        elif slider is not None:
            self._held = slider
            self.drag(x)
        return row is not None or slider is not None

    def drag(self, x: float) -> bool:
        """Move the slider that is held to the mouse, and return whether one is held.

        Parameters
        ----------
        x : float
            Fraction of the window.
        """
        if self._held is None:
            return False
        track, plane = self._drawn.layout.track(self._held), plane_at(self._held)
        share = (x - track.left) / (track.right - track.left)
        self.change(self.state.moved_to(plane, round(share * (self.state.limits.shape[plane] - 1))))
        return True

    def release(self) -> bool:
        """Let go of the slider, and return whether one was held."""
        held, self._held = self._held, None
        return held is not None

    def wheel(self, x: float, y: float, steps: int, shift: bool) -> bool:
        """Scroll the legend, or with Shift or Ctrl move the plane; return whether one of them was meant.

        Parameters
        ----------
        x, y : float
            Fractions of the window.
        steps : int
            Above 0 if the wheel is turned away.
        shift : bool
        """
        layout = self._drawn.layout
        if layout.legend.holds(x, y):
            self.change(self.state.scrolled(-steps, layout.rows))
            return True
        if shift:
            self.change(self.state.moved(steps))
        return shift

    def _parts(self) -> tuple[tuple[Callable[[WindowState], None], tuple[str, ...]], ...]:
        """Return what shows which fields of the state."""
        texts = ("at", "plane", "hidden", "opacity", "cut", "window", "help")
        slices = ("at", "slices", "window", "cut", "plane", "unsure")
        return (
            (self._space.show_slices, slices),
            (self._space.show_surfaces, ("hidden", "opacity")),
            (self._space.show_volume, ("volume", "window")),
            (self._space.cut, ("cut", "at", "plane")),
            (self._panel.show_legend, ("hidden", "first")),
            (self._panel.show_texts, texts),
            (self._panel.show_sliders, ("at",)),
            (self._panel.show_scale, ("unsure",)),
            (self._look, ("looks",)),
        )

    def _look(self, state: WindowState) -> None:
        _, angles = VIEWS[state.view]
        look(self._drawn, self._drawn.towards if angles is None else direction(*angles))

    def _mouse(self) -> tuple[float, float]:
        interactor = self.plotter.iren.interactor
        (x, y), (width, height) = interactor.GetEventPosition(), interactor.GetSize()
        return x / max(width, 1), y / max(height, 1)

    def _with_shift(self) -> bool:
        interactor = self.plotter.iren.interactor
        return bool(interactor.GetShiftKey() or interactor.GetControlKey())


def first_state(scene: Scene, grid: Grid) -> WindowState:
    """Return what a window shows when it opens.

    Parameters
    ----------
    scene : Scene
    grid : Grid
        Its voxel layers are the places of the planes.
    """
    block = scene.block
    windows = tuple(block.windows) if block else ()
    limits = Limits(grid.shape, len(scene.structures), windows, has_doubt=scene.doubt_texts is not None)
    middle = scene.start if block else (_STEPS // 2, _STEPS // 2, _STEPS // 2)
    return WindowState(limits, middle)


def _grid_of_planes(scene: Scene) -> Grid:
    """Return the voxels of the scan; without a scan, steps through the box of the meshes."""
    if scene.block is not None:
        return scene.block.grid
    bounds = bounds_of(scene.meshes)
    if bounds is None:
        raise ValueError("a scene without meshes has a scan")
    spacing = np.maximum(bounds[1] - bounds[0], 1e-3) / (_STEPS - 1)
    return Grid.from_spacing((_STEPS, _STEPS, _STEPS), spacing, bounds[0])


def _observe(interactor: Any, event: str, follow: Callable[[], bool]) -> None:
    """Follow an event before the camera does, which does not see it then if it was meant for a control."""

    def observer(*_: Any) -> None:
        if follow():
            interactor.GetCommand(tag).SetAbortFlag(1)

    tag = interactor.AddObserver(event, observer, _FIRST)


def _ignore(*_: Any) -> None:
    pass

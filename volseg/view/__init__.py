"""Looking at results: 3D pictures, films and windows, and contact sheets of slices."""

from volseg.view.contact_sheet import draw_contact_sheet, save_contact_sheet
from volseg.view.plotting import scene
from volseg.view.renderer import available_renderer, save_screenshot, show
from volseg.view.turntable import save_turntable

__all__ = [
    "available_renderer",
    "draw_contact_sheet",
    "save_contact_sheet",
    "save_screenshot",
    "save_turntable",
    "scene",
    "show",
]

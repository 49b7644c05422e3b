"""Looking at results: 3D pictures and windows, and contact sheets of slices."""

from volseg.view.contact_sheet import draw_contact_sheet, save_contact_sheet
from volseg.view.renderer import available_renderer, save_screenshot, show

__all__ = ["available_renderer", "draw_contact_sheet", "save_contact_sheet", "save_screenshot", "show"]

"""A scan, its labels and surfaces as one HTML file that opens anywhere, without a network.

`scene_page` makes the page. `content` gathers what it holds, `shown` chooses the part and the resolution of the scan
that fits, `structures` lists labels and surfaces, `blocks` packs arrays into text, and `niivue` finds the code that
draws surfaces. The page's own HTML, CSS and JavaScript are in ``assets``.
"""

from volseg.webpage.scene_page import Page, page

__all__ = ["Page", "page"]

"""The page: everything put together into one HTML file."""

from __future__ import annotations

import base64
import html
import io
import logging
import tempfile
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from volseg._version import __version__
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import InputError, RenderError, UsageError
from volseg.files.atomic import write_text
from volseg.files.names import PAGE_SUFFIXES, check_suffix
from volseg.files.page_theme import THEME_STYLE
from volseg.files.plain_text import plain
from volseg.files.script_data import script_data
from volseg.prediction.shown_doubt import ShownDoubt
from volseg.view.renderer import save_screenshot
from volseg.webpage.blocks import zipped
from volseg.webpage.comparison import compare_labels
from volseg.webpage.content import Content, gather
from volseg.webpage.niivue import find_niivue
from volseg.webpage.structures import label_surfaces

_LOG = logging.getLogger(__name__)
_MOST_BYTES = 9_900_000  # of a page
_PICTURE_SIZE = (960, 720)
_SCRIPTS = ("codec", "scene", "slices", "surfaces", "panel", "start")
_NOTEBOOK_HEIGHT = 640


@dataclass(frozen=True)
class Page:
    """One HTML file: slices, surfaces and controls, with all that they need.

    Parameters
    ----------
    title : str
    text : str
        The whole file.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import sphere_labelmap
    >>> labels = sphere_labelmap(volseg.Grid.from_spacing((32, 32, 32)), radius_mm=10)
    >>> page = volseg.page(labels=labels, title="sphere")
    >>> page.save("sphere.html").name, page.title
    ('sphere.html', 'sphere')
    """

    title: str
    text: str

    def save(self, path: str | Path) -> Path:
        """Write the file; an older one is replaced.

        Parameters
        ----------
        path : path
            A name that ends in ``.html``.

        Returns
        -------
        Path
            The written file.

        Raises
        ------
        UsageError
            The name does not end in ``.html``.
        OutputError
            The file cannot be written.
        """
        check_suffix(path, PAGE_SUFFIXES, what="page")
        write_text(path, self.text)
        return Path(path)

    def open(self) -> Path:
        """Write the page into the folder for temporary files, and open it in the browser.

        Returns
        -------
        Path
            The file; it stays there, as the browser may read it later.
        """
        folder = Path(tempfile.mkdtemp(prefix="volseg-"))
        path = self.save(folder / "scene.html")
        webbrowser.open(path.as_uri())
        return path

    def _repr_html_(self) -> str:
        """Return the page in a frame, for a notebook; it needs no kernel and is saved with the notebook."""
        source = html.escape(self.text, quote=True)
        style = f"width:100%;height:{_NOTEBOOK_HEIGHT}px;border:0"
        return f'<iframe srcdoc="{source}" style="{style}" title="{html.escape(self.title, quote=True)}"></iframe>'


def page(
    scan: Volume | None = None,
    labels: LabelMap | Sequence[LabelMap] | None = None,
    *,
    meshes: Sequence[Mesh] | None = None,
    reference: LabelMap | None = None,
    title: str | None = None,
    doubt: Volume | ShownDoubt | None = None,
) -> Page:
    """Make one HTML file that shows a scan, labels and surfaces in a browser, without a network.

    It has three planes and a 3D view, with a list of all structures to switch on and off. NiiVue draws the 3D view; it
    comes from the package ipyniivue (``pip install volseg[html]``). Without it, and in browsers without WebGL2, a
    picture of the scene takes its place. A scan that would make the page larger than 10 MB is cropped around the labels
    and then shown at half the resolution; the page says so.

    Parameters
    ----------
    scan : Volume, optional
    labels : LabelMap or sequence of LabelMap, optional
        On any grid; they are shown on the voxels of the scan.
    meshes : sequence of Mesh, optional
        World mm RAS+. A mesh and a label of the same name are one structure. By default the surfaces of the labels.
    reference : LabelMap, optional
        Compare `labels`, which is then one label map, with this one: the planes show where they agree, the surfaces
        of `labels` have the signed distance to the reference in colour, and a table has the scores of
        `volseg.evaluate`. Meshes are not shown then.
    title : str, optional
        Default: the name of the scan.
    doubt : Volume or ShownDoubt, optional
        How unsure each voxel is, on the voxels of the scan or of a label map, as in ``doubt.nii.gz``; a switch lays it
        in colour over the slices. A `ShownDoubt` also has the slices to look at first, which become buttons.

    Returns
    -------
    Page
        To save, to open, or to show in a notebook.

    Raises
    ------
    InputError
        There is nothing to show.
    GeometryError
        Without a scan: the label maps lie far apart. With a reference: its grid is another one. The doubt lies on
        voxels neither of the scan nor of a label map.
    UsageError
        A reference is given for no label map or several; doubt, and no scan or label map.
    RenderError
        The installed ipyniivue is not one that is known.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> phantom = make_ct_phantom(seed=1)
    >>> page = volseg.page(phantom.volume, phantom.labels, meshes=[])
    >>> "</html>" in page.text
    True
    """
    layers = [labels] if isinstance(labels, LabelMap) else [*(labels or ())]
    comparison = None
    if reference is not None:
        if len(layers) != 1:
            raise UsageError(f"{len(layers)} label maps are given to compare with a reference; expected one")
        comparison = compare_labels(layers[0], reference)
        meshes = comparison.meshes
    if meshes is None:
        meshes = [mesh for layer in layers for mesh in label_surfaces(layer)]
    found = [mesh for mesh in meshes if len(mesh.faces)]
    if scan is None and not layers and not found:
        raise InputError("nothing to show; a page needs a scan, a label map or a mesh with faces")
    if doubt is not None and scan is None and not layers:
        raise UsageError("doubt is laid over slices, and there are none; give the scan or the label map too")
    named = plain(title or (scan.name if scan else None) or (found[0].name if found else "labels"))
    niivue = find_niivue()
    if niivue is None:
        _LOG.warning("the page has a picture in place of the 3D view; pip install 'volseg[html]' adds what draws it")
    script = zipped(niivue.script.encode()) if niivue else ""
    picture = _picture(scan, found)
    room = _MOST_BYTES - len(script) - len(picture)
    seen = ShownDoubt(doubt) if isinstance(doubt, Volume) else doubt
    content = gather(scan, layers, found, most_bytes=room, comparison=comparison, doubt=seen)
    for note in content.warnings:
        _LOG.warning("%s: %s", named, note)
    return Page(named, _filled(named, content, picture, script, niivue.licence if niivue else None))


def _picture(scan: Volume | None, meshes: Sequence[Mesh]) -> str:
    """Return an image element with the scene; empty if this machine cannot draw it."""
    from matplotlib.image import imread, imsave

    if scan is None and not meshes:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            drawn = save_screenshot(Path(folder) / "scene.png", meshes=meshes, volume=scan, size=_PICTURE_SIZE)
        except RenderError as error:
            _LOG.warning("the page has no picture of the scene for browsers without WebGL2: %s", error)
            return ""
        smaller = io.BytesIO()  # a tenth of the PNG
        imsave(smaller, imread(drawn), format="jpg", pil_kwargs={"quality": 85})
    data = base64.b64encode(smaller.getvalue()).decode("ascii")
    return f'<img alt="The surfaces and three slices" src="data:image/jpeg;base64,{data}">'


def _filled(title: str, content: Content, picture: str, niivue: str, licence: str | None) -> str:
    assets = resources.files("volseg.webpage") / "assets"
    scripts = [(assets / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    return Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        version=__version__,
        title=html.escape(title),
        facts=html.escape(" · ".join(content.facts)),
        style=THEME_STYLE + (assets / "page.css").read_text(encoding="utf-8"),
        script="\n".join(scripts),
        picture=picture,
        content=script_data(content.values),
        niivue=niivue,
        credit=_credit(licence),
    )


def _credit(licence: str | None) -> str:
    if licence is None:
        return ""
    text = html.escape(licence.strip())
    return f" · <details><summary>3D by NiiVue (BSD-2-Clause)</summary><pre>{text}</pre></details>"

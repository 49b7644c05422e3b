"""3MF, the 3D Manufacturing Format, for printers: named, coloured objects in millimetres.

Specification: https://github.com/3MFConsortium/spec_core (core specification 1.4). Objects keep their position in
the patient. The specification recommends the positive octant, but programs for printers centre objects themselves.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

from volseg.core.mesh import Mesh
from volseg.io.mesh.text import text_rows

_LOG = logging.getLogger(__name__)

_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = (
    f'{_XML}<Types xmlns="{_PACKAGE}/content-types">\n'
    '  <Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>\n'
    '  <Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>\n'
    "</Types>\n"
)
_RELATIONS = (
    f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">\n'
    '  <Relationship Target="/3D/3dmodel.model" Id="rel0" '
    'Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>\n'
    "</Relationships>\n"
)
_MATERIALS_ID = 1
_FIRST_OBJECT_ID = 2
# Old readers do not know ZIP64, so it is used only if the model may exceed the 2 GiB of a plain zip.
_MOST_PLAIN_ROWS = 20_000_000


def write_3mf(meshes: Sequence[Mesh], stream: BinaryIO, space: str) -> None:
    """Write a 3MF package with one object, material and build item for each mesh.

    Parameters
    ----------
    meshes : sequence of Mesh
        In the coordinate system of the file, mm.
    stream : binary file
        A stream with ``seek``.
    space : str
        Name of that system, for the metadata.
    """
    for mesh in meshes:
        if not mesh.is_manifold:
            _LOG.warning(
                "mesh %r: is not a closed surface with two triangles at every edge, as 3MF requires; a program for "
                "printers may have to repair it",
                mesh.name,
            )
    rows = sum(len(mesh.vertices) + len(mesh.faces) for mesh in meshes)
    with zipfile.ZipFile(stream, "w") as package:
        for name, text in (("[Content_Types].xml", _TYPES), ("_rels/.rels", _RELATIONS)):
            package.writestr(_entry(name), text)
        with package.open(_entry("3D/3dmodel.model"), "w", force_zip64=rows > _MOST_PLAIN_ROWS) as part:
            for text in _model(meshes, space):
                part.write(text.encode("utf-8"))


def _entry(name: str) -> zipfile.ZipInfo:
    # Without the time of writing, so that the same meshes give the same bytes.
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _model(meshes: Sequence[Mesh], space: str) -> Iterator[str]:
    yield (
        f'{_XML}<model unit="millimeter" xml:lang="und" xmlns:volseg="urn:volseg:3mf" '
        'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02">\n'
        '  <metadata name="Application">volseg</metadata>\n'
        f'  <metadata name="Description">SPACE={space}</metadata>\n'
        f'  <metadata name="volseg:SPACE">{space}</metadata>\n'
        f'  <resources>\n    <basematerials id="{_MATERIALS_ID}">\n'
    )
    for mesh in meshes:
        red, green, blue = mesh.colour
        yield f'      <base name={quoteattr(mesh.name)} displaycolor="#{red:02X}{green:02X}{blue:02X}"/>\n'
    yield "    </basematerials>\n"
    for n, mesh in enumerate(meshes):
        yield (
            f'    <object id="{_FIRST_OBJECT_ID + n}" type="model" name={quoteattr(mesh.name)} '
            f'pid="{_MATERIALS_ID}" pindex="{n}">\n'
        )
        if mesh.quality:
            text = f'<metadata name="volseg:quality">{mesh.quality}</metadata>'
            yield f"      <metadatagroup>{text}</metadatagroup>\n"
        yield "      <mesh>\n        <vertices>\n"
        yield from text_rows('<vertex x="%.9g" y="%.9g" z="%.9g"/>\n', mesh.vertices)
        yield "        </vertices>\n        <triangles>\n"
        yield from text_rows('<triangle v1="%d" v2="%d" v3="%d"/>\n', mesh.faces)
        yield "        </triangles>\n      </mesh>\n    </object>\n"
    yield "  </resources>\n  <build>\n"
    yield from (f'    <item objectid="{_FIRST_OBJECT_ID + n}"/>\n' for n in range(len(meshes)))
    yield "  </build>\n</model>\n"

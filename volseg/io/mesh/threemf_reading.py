"""Reading 3MF packages: the objects on the build plate, with their names and colours.

Specification: https://github.com/3MFConsortium/spec_core; of its extensions, colour groups and models in other parts of
the package. Colours of single triangles and textures are left out.
"""

from __future__ import annotations

import io
import re
import zipfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import IO, NoReturn
from xml.etree import ElementTree

import numpy as np

from volseg.core.grid import Float
from volseg.core.labelmap import Colour
from volseg.io.mesh.content import MOST_SURFACES, MeshContent, Part, check_growth, join_parts

_MM_PER_UNIT = {"micron": 0.001, "millimeter": 1.0, "centimeter": 10.0, "inch": 25.4, "foot": 304.8, "meter": 1000.0}
_MODEL_RELATION, _LONGEST_RELATIONS = "/3dmodel", 1 << 20
_LONGEST_METADATA = 10_000
_BYTES_OF_A_ROW = 100
_CHUNK = 1 << 20
_COLOUR = re.compile("#([0-9a-fA-F]{6})")

_Attributes = dict[str, str]


@dataclass(frozen=True)
class _Placed:
    """An object of a part of the package and its transform, which multiplies rows (x, y, z, 1)."""

    part: str
    number: str
    transform: Float
    name: str = ""


@dataclass
class _Object:
    name: str
    material: tuple[str, str]
    vertices: array[float] = field(default_factory=lambda: array("d"))
    triangles: array[int] = field(default_factory=lambda: array("q"))
    components: list[_Placed] = field(default_factory=list)


def parse_3mf(data: bytes) -> MeshContent:
    """Parse the surfaces on the build plate of a 3MF package, in mm.

    Parameters
    ----------
    data : bytes
        Bytes of the whole package.

    Raises
    ------
    ValueError, or another of `volseg.errors.DAMAGE`
        The file is not 3MF, is damaged or cut short.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        package = _Package(archive, len(data))
        start = package.first_part()
        models = {start: _read_model(package, start)}
        parts = []
        needed = 0
        for placed in _placed_objects(package, models, start):
            found = models[placed.part].objects[placed.number]
            needed += (len(found.vertices) + len(found.triangles)) // 3 * _BYTES_OF_A_ROW
            check_growth(needed, len(data))
            part = _placed_part(found, placed, _MM_PER_UNIT[models[start].unit])
            parts.append(replace(part, colours=models[placed.part].colour_of(found)))
    return join_parts(parts, "".join(models[start].metadata))


def _placed_part(found: _Object, placed: _Placed, mm_per_unit: float) -> Part:
    vertices = np.array(found.vertices).reshape(-1, 3)
    faces = np.array(found.triangles).reshape(-1, 3)
    if np.linalg.det(placed.transform[:3, :3]) < 0:
        faces = faces[:, ::-1]
    return Part((vertices @ placed.transform[:3, :3] + placed.transform[3, :3]) * mm_per_unit, faces, placed.name)


def _placed_objects(package: _Package, models: dict[str, _Model], start: str) -> Iterator[_Placed]:
    """Yield every object with triangles as often as it is placed; other parts are read on demand."""
    waiting = models[start].items[::-1]
    count = 0
    while waiting:
        placed = waiting.pop()
        count += 1
        if count + len(waiting) > MOST_SURFACES:
            raise ValueError(f"more than {MOST_SURFACES} objects are placed, or one is within itself")
        if placed.part not in models:
            models[placed.part] = _read_model(package, placed.part)
        found = models[placed.part].objects[placed.number]
        placed = replace(placed, name=found.name or placed.name)
        if found.triangles:
            yield placed
        for inner in found.components[::-1]:
            waiting.append(replace(inner, transform=inner.transform @ placed.transform, name=placed.name))


@dataclass
class _Package:
    archive: zipfile.ZipFile
    size: int
    taken: int = 0

    def open(self, part: str) -> IO[bytes]:
        """Open a part for reading; all opened parts together must not expand out of proportion."""
        entry = {info.filename.lower(): info for info in self.archive.infolist()}[part.lower()]
        self.taken += entry.file_size
        check_growth(self.taken, self.size)
        return self.archive.open(entry)

    def first_part(self) -> str:
        """Return the name of the part with the model, from the relationships."""
        with self.open("_rels/.rels") as stream:
            relations = ElementTree.fromstring(stream.read(_LONGEST_RELATIONS))
        for relation in relations:
            if relation.get("Type", "").endswith(_MODEL_RELATION):
                return relation.get("Target", "").lstrip("/")
        raise ValueError("it has no part with a model")


def _read_model(package: _Package, part: str) -> _Model:
    model = _Model(part)
    parser = ElementTree.XMLParser(target=model)
    with package.open(part) as stream:
        while content := stream.read(_CHUNK):
            parser.feed(content)
    parser.close()
    return model


class _Model:
    """Content of a part of the package; the parser calls it for every element, as there may be millions."""

    def __init__(self, part: str) -> None:
        self.unit = "millimeter"
        self.metadata: list[str] = []
        self.objects: dict[str, _Object] = {}
        self.items: list[_Placed] = []
        self._part = part
        self._object = _Object("", ("", ""))
        self._colours: dict[str, list[str]] = {}
        self._group: list[str] = []
        self._handlers: dict[str, Callable[[_Attributes], None]] = {}
        self._metadata_tag = ""
        self._is_metadata = False

    def start(self, tag: str, attributes: _Attributes) -> None:
        """Start an element; elements of the core specification have the namespace of the first one."""
        if not self._handlers:
            self._begin(tag.removesuffix("model"), attributes)
        elif handler := self._handlers.get(tag):
            handler(attributes)
        elif tag.endswith("}colorgroup"):
            self._add_group(attributes)
        elif tag.endswith("}color"):
            self._group.append(attributes.get("color", ""))
        self._is_metadata = tag == self._metadata_tag

    def data(self, text: str) -> None:
        """Take text; only metadata matter, as they may name the coordinate system."""
        if self._is_metadata and len(self.metadata) < _LONGEST_METADATA:
            self.metadata.append(text[:_LONGEST_METADATA])

    def end(self, tag: str) -> None:
        """End an element."""
        self._is_metadata = False

    def doctype(self, *_: str | None) -> NoReturn:
        """Refuse definitions of entities, which may expand without limit."""
        raise ValueError("it has a document type, which 3MF forbids")

    def close(self) -> None:
        """End the document."""

    def colour_of(self, found: _Object) -> Colour | None:
        """Return the colour of an object's material."""
        group, number = found.material
        colours = dict(enumerate(self._colours.get(group, [])))
        text = _COLOUR.match(colours.get(int(number), ""))
        if text is None:
            return None
        red, green, blue = bytes.fromhex(text[1])
        return red, green, blue

    def _begin(self, namespace: str, attributes: _Attributes) -> None:
        self.unit = attributes.get("unit", self.unit)
        self._metadata_tag = f"{namespace}metadata"
        self._handlers = {
            f"{namespace}vertex": self._add_vertex,
            f"{namespace}triangle": self._add_triangle,
            f"{namespace}object": self._add_object,
            f"{namespace}component": lambda entry: self._place(self._object.components, entry),
            f"{namespace}item": lambda entry: self._place(self.items, entry),
            f"{namespace}basematerials": self._add_group,
            f"{namespace}base": lambda entry: self._group.append(entry.get("displaycolor", "")),
        }

    def _add_vertex(self, entry: _Attributes) -> None:
        self._object.vertices.extend((float(entry["x"]), float(entry["y"]), float(entry["z"])))

    def _add_triangle(self, entry: _Attributes) -> None:
        self._object.triangles.extend((int(entry["v1"]), int(entry["v2"]), int(entry["v3"])))

    def _add_object(self, entry: _Attributes) -> None:
        self._object = _Object(entry.get("name", ""), (entry.get("pid", ""), entry.get("pindex", "0")))
        self.objects[entry["id"]] = self._object
        self._check(len(self.objects))

    def _add_group(self, entry: _Attributes) -> None:
        self._group = self._colours.setdefault(entry["id"], [])

    def _place(self, others: list[_Placed], entry: _Attributes) -> None:
        transform = np.eye(4)
        if "transform" in entry:
            transform[:, :3] = np.array(entry["transform"].split(), dtype=np.float64).reshape(4, 3)
        part = next((value for key, value in entry.items() if key.endswith("}path")), self._part)
        others.append(_Placed(part.lstrip("/"), entry["objectid"], transform))
        self._check(len(others))

    def _check(self, count: int) -> None:
        if count > MOST_SURFACES:
            raise ValueError(f"it holds more than {MOST_SURFACES} objects")

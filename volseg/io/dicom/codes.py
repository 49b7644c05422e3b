"""Conversion between labels and coded concepts, texts and numbers of DICOM.

The codes are those of SNOMED CT: first from `volseg.core.anatomy`, then from pydicom (DICOM PS3.16). A name is coded
only if its words are exactly those of one concept; an additional ``left`` or ``right`` becomes a modifier.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from volseg._version import __version__
from volseg.core.anatomy import Words, find_structure, words_of
from volseg.core.labelmap import OTHER_ALGORITHMS, Colour, Label, default_colour
from volseg.files.plain_text import plain
from volseg.io.dicom.attributes import DAMAGE, text_of
from volseg.io.dicom.texts import LONGEST_CODE, LONGEST_TEXT, fit_text, read_code, split_code

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription

_LOG = logging.getLogger(__name__)

_ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
_ALTERED = Code("49755003", "SCT", "Morphologically Altered Structure")
_SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}
# Context groups of structures for labels; in all of SNOMED, "table" or "lead" would match as well.
_ANATOMY_LISTS = ("CID7192", "CID8134")
_ALTERED_LIST = "CID7194"
_NO_ALTERATION = ("Normal", "Background")

_PRIVATE = "99VOLSEG"
_NOTE = "volseg label "


@dataclass(frozen=True, slots=True)
class Coding:
    """The coded concept of a label.

    Parameters
    ----------
    category : Code
        Anatomical or morphologically altered structure.
    type : Code
        The structure.
    side : Code or None
        Left or right, if the name says so and the type does not.
    """

    category: Code
    type: Code
    side: Code | None = None


def coding_of(label: Label) -> Coding:
    """Code a label.

    Parameters
    ----------
    label : Label
        Its own code ``scheme:value`` is used. Without a code of this form, the concept with the label's name is used,
        first from `volseg.core.anatomy`. Without a concept it is a private code of the scheme ``99VOLSEG``, which
        depends on the name only.

    Returns
    -------
    Coding
        Category and type, each with a meaning of at most 64 characters, ready for highdicom.
    """
    words = words_of(label.name)
    found, side = _tabled(label.name) or _look_up(words)
    code = _given_code(label)
    if code is None:
        code = found or _private_code(label.name)
    elif found is None or (found.scheme_designator, found.value) != (code.scheme_designator, code.value):
        side = None
    return Coding(_ALTERED if _is_altered(code, words) else _ANATOMY, code, side)


def code_text(concept: Any) -> str | None:
    """Return a coded concept in the form of `Label.code`: ``SCT:10200004``.

    Parameters
    ----------
    concept : Code or coded entry of a DICOM sequence
        The concept, with a short, long or URN code value.

    Returns
    -------
    str or None
        None if there is no code value, or for a private code that `coding_of` made from a name.
    """
    code: str | None = None
    if not isinstance(concept, Code):
        code = read_code(concept)
    elif concept.value:
        code = plain(f"{concept.scheme_designator}:{concept.value}")
    return None if code is None or code.startswith(f"{_PRIVATE}:") else code


def describe_segment(label: Label, number: int) -> SegmentDescription:
    """Describe a label as a DICOM segment (PS3.3 C.8.20.4, Segment Description).

    Parameters
    ----------
    label : Label
        SegmentLabel is its name, cut to 64 characters; TrackingID is the full name. The colour becomes CIELab.
    number : int
        SegmentNumber. It may differ from the label's value, so SegmentDescription holds the value.
    """
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    coding, name = coding_of(label), plain(label.name)
    segment = SegmentDescription(
        segment_number=number,
        segment_label=_fitting(name),
        segmented_property_category=coding.category,
        segmented_property_type=coding.type,
        algorithm_type=label.algorithm or "AUTOMATIC",
        algorithm_identification=None if label.algorithm == "MANUAL" else _identification(),
        tracking_uid=generate_uid(prefix=None),
        tracking_id=name,
        display_color=CIELabColor.from_rgb(*label.colour),
    )
    segment.SegmentDescription = f"{_NOTE}{label.value}"
    if coding.side is not None:
        side = CodedConcept.from_code(coding.side)
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
    return segment


def _identification() -> AlgorithmIdentificationSequence:
    from highdicom import AlgorithmIdentificationSequence

    return AlgorithmIdentificationSequence(name="volseg", version=__version__, family=codes.DCM.ArtificialIntelligence)


def label_of(segment: Dataset) -> Label:
    """Return the label of a DICOM segment from any software; the inverse of `describe_segment`.

    Parameters
    ----------
    segment : Dataset
        Item of a SegmentSequence, with a SegmentNumber of at least 1.

    Returns
    -------
    Label
        Its value is the one that volseg recorded, else the SegmentNumber; its default colour is `default_colour`.
    """
    number = int(segment.SegmentNumber)
    note = str(segment.get("SegmentDescription") or "")
    value = int(note.removeprefix(_NOTE)) if re.fullmatch(_NOTE + r"[1-9]\d{0,17}", note) else number
    types = segment.get("SegmentedPropertyTypeCodeSequence") or [Dataset()]
    name = plain(_full_name(segment, note) or text_of(types[0], "CodeMeaning")).strip() or f"segment_{number}"
    rgb = _colour(segment, name) or default_colour(value, name)
    algorithm = text_of(segment, "SegmentAlgorithmType")
    return Label(value, name, rgb, code_text(types[0]), algorithm if algorithm in OTHER_ALGORITHMS else None)


def _full_name(segment: Dataset, note: str) -> str:
    name = text_of(segment, "SegmentLabel").strip()
    # TrackingID holds the full name if SegmentLabel was cut; any other TrackingID names a finding, not the structure.
    full_name = str(segment.get("TrackingID") or "")
    return full_name if note.startswith(_NOTE) and _fitting(full_name) == name else name


def _colour(segment: Dataset, name: str) -> Colour | None:
    from highdicom.color import CIELabColor

    try:
        colour = segment.get("RecommendedDisplayCIELabValue")
        return CIELabColor.from_dicom_value(list(colour)).to_rgb(clip=True) if colour else None
    except DAMAGE as error:
        _LOG.warning("segment %r: its colour cannot be read and is left out (%s)", name, error)
        return None


def _fitting(name: str) -> str:
    """Shorten a name to the limit, without spaces around it, and never empty."""
    return fit_text(name.strip(" ")).strip() or "_"


def _given_code(label: Label) -> Code | None:
    code = split_code(label.code)
    return _code(*code, label.name) if code else None


def _code(scheme: str, value: str, name: str) -> Code:
    meaning = _meanings().get(value) if scheme == "SCT" else None
    return Code(value, scheme, meaning or _fitting(name))


def _private_code(name: str) -> Code:
    value = hashlib.sha256(name.encode()).hexdigest()[:LONGEST_CODE]
    return Code(value, _PRIVATE, _fitting(name))


def _tabled(name: str) -> tuple[Code, Code | None] | None:
    """Find the concept of a name in the table of `volseg.core.anatomy`, and the side if the concept has none."""
    structure = find_structure(name)
    if structure is None or structure.code is None:
        return None
    scheme, value = structure.code.split(":")
    return _code(scheme, value, structure.name), _SIDES[structure.side] if structure.side else None


def _look_up(words: Words) -> tuple[Code | None, Code | None]:
    """Find the concept with exactly these words, and the side if it is the only additional word."""
    if words in _concepts():
        return _concepts()[words], None
    sides: list[str] = []
    rest: list[str] = []
    for word in words:
        (sides if word in _SIDES else rest).append(word)
    concept = _concepts().get(tuple(rest))
    if len(sides) == 1 and concept is not None:
        return concept, _SIDES[sides[0]]
    return None, None


def _is_altered(code: Code, words: Words) -> bool:
    if code.scheme_designator == "SCT" and code.value in _meanings():
        return code.value in _altered_values()
    for word in words:
        concept = _concepts().get((word,))
        if concept is not None and concept.value in _altered_values():
            return True
    return False


@cache
def _meanings() -> dict[str, str]:
    """Return the meaning of every SNOMED code value in pydicom, those of the context groups first."""
    meanings: dict[str, str] = {}
    lists = [_listed(name) for name in (_ALTERED_LIST, *_ANATOMY_LISTS)]
    for concepts in (*lists, codes.SCT.concepts):
        for code in concepts.values():
            if len(code.meaning) <= LONGEST_TEXT:
                meanings.setdefault(code.value, code.meaning)
    return meanings


@cache
def _altered_values() -> frozenset[str]:
    listed = _listed(_ALTERED_LIST)
    return frozenset(code.value for keyword, code in listed.items() if keyword not in _NO_ALTERATION)


@cache
def _concepts() -> dict[Words, Code]:
    """Return concepts by their words; words of two concepts are absent."""
    concepts: dict[Words, Code] = {}
    ambiguous = set()
    for name in (*_ANATOMY_LISTS, _ALTERED_LIST):
        for keyword, code in _listed(name).items():
            if keyword in _NO_ALTERATION:
                continue
            # A code with two names gets one meaning.
            meaning = _meanings().get(code.value, code.meaning[:LONGEST_TEXT])
            one = Code(code.value, code.scheme_designator, meaning)
            for words in {words_of(keyword), words_of(code.meaning)}:
                if concepts.setdefault(words, one).value != code.value:
                    ambiguous.add(words)
    for words in ambiguous:
        del concepts[words]
    return concepts


def _listed(name: str) -> dict[str, Code]:
    """SNOMED concepts of a DICOM context group, by keyword."""
    snomed: dict[str, Code] = codes.SCT.concepts
    return {keyword: snomed[keyword] for keyword in getattr(codes, name).dir() if keyword in snomed}

"""Whose pictures they are: what differs in patient, study or series is no one volume, whatever its UIDs say.

Anonymisers write one UID for several series, or several patients. An attribute that is absent differs from nothing.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from volseg.io.dicom.header import LOOSE_IDENTITY, STRICT_IDENTITY, FrameHeader
from volseg.io.dicom.split import are_volumes, label_of, natural_order

Frames = list[FrameHeader]

# What volumes are called that differ in an attribute; those that differ in the description have names that differ.
_WORDS = {
    **dict.fromkeys(("PatientID", "PatientName", "PatientBirthDate", "PatientSex"), "patient"),
    **dict.fromkeys(("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"), "study"),
    "SeriesNumber": "series",
    "FrameOfReferenceUID": "space",
    "Modality": "modality",
    "ProtocolName": "protocol",
    "BodyPartExamined": "region",
    "Laterality": "side",
    "PatientPosition": "position",
    **dict.fromkeys(("SeriesDate", "SeriesTime"), "part"),
    **dict.fromkeys(("InstitutionName", "StationName"), "site"),
    **dict.fromkeys(("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber"), "scanner"),
}
_UIDS = ("StudyInstanceUID", "FrameOfReferenceUID")
_SHOWN, _ENDING = 5, 12


def identity_of(frame: FrameHeader) -> dict[str, str]:
    """Return the identity of a picture in one spelling: without regard to case, spaces and empty parts of names."""
    return {keyword: _plain(keyword, text) for keyword, text in frame.identity.items()}


@lru_cache(maxsize=1 << 12)
def _plain(keyword: str, text: str) -> str:
    if keyword == "PatientName":  # the alphabetic form, if there is one
        text = text.lstrip("=").partition("=")[0].replace("^", " ")
    elif keyword.endswith("Time"):  # whose parts of a second may be left out
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def told_apart(frames: Iterable[FrameHeader], text_of: Callable[[FrameHeader], str]) -> list[Frames]:
    """Group pictures by a text; one that lacks it joins the only group that the rest of its identity agrees with.

    Those that agree with several groups, or with none, stay by themselves.
    """
    groups: dict[str, Frames] = defaultdict(list)
    for frame in frames:
        groups[text_of(frame)].append(frame)
    vague = groups.pop("", [])
    if len(groups) < 2:
        return [[*next(iter(groups.values()), []), *vague]]
    parts, rest = list(groups.values()), list[FrameHeader]()
    known = [_texts_of(part) for part in parts]
    for frame in vague:
        fitting = [part for part, texts in zip(parts, known, strict=True) if _agrees(frame, texts)]
        (fitting[0] if len(fitting) == 1 else rest).append(frame)
    return [*parts, *([rest] if rest else [])]


def _texts_of(frames: Frames) -> dict[str, set[str]]:
    texts: dict[str, set[str]] = defaultdict(set)
    for frame in frames:
        for keyword, text in identity_of(frame).items():
            texts[keyword].add(text)
    return texts


def _agrees(frame: FrameHeader, texts: Mapping[str, set[str]]) -> bool:
    return all(text in texts.get(keyword, {text}) for keyword, text in identity_of(frame).items())


def split_strictly(frames: Sequence[FrameHeader]) -> list[Frames]:
    """Split pictures by patient, study, series number, frame of reference and modality."""
    # A UID that each file has for itself tells no studies apart.
    files = len({frame.file for frame in frames})
    own = {key for key in _UIDS if files > 2 and len({frame.identity.get(key) for frame in frames}) == files}
    present = Counter(key for frame in frames for key in frame.identity)
    # What most pictures have tells best where those belong that lack another.
    keywords = [keyword for keyword in STRICT_IDENTITY if keyword not in own]
    return _split(frames, sorted(keywords, key=lambda keyword: -present[keyword]))


def _split(frames: Sequence[FrameHeader], keywords: Sequence[str]) -> list[Frames]:
    for keyword in keywords:
        if len(parts := told_apart(frames, _text(keyword))) > 1:
            return [found for part in parts for found in _split(part, keywords)]
    return [list(frames)]


def split_loosely(frames: Frames) -> list[tuple[Frames, tuple[str, ...]]]:
    """Split a stack by the texts of its series, such as the description, unless they vary from slice to slice.

    Returns
    -------
    list of (frames, notes)
        What some pictures of a volume lack and the others agree in is filled in; a note for each text that varies.
    """
    notes = []
    for keyword in (*LOOSE_IDENTITY, *_UIDS):
        if len({frame.identity.get(keyword) for frame in frames}) == 1:
            continue
        parts = told_apart(frames, _text(keyword))
        if len(parts) > 1 and are_volumes(parts):
            return [found for part in parts for found in split_loosely(part)]
        if len(parts) > 1:
            told = f"{keyword} varies from slice to slice ({_listed(parts, keyword)})"
            notes.append(f"{told}, but only together are the slices whole; taken for one volume")
    return [(_filled(frames), tuple(notes))]


def _text(keyword: str) -> Callable[[FrameHeader], str]:
    return lambda frame: _plain(keyword, frame.identity.get(keyword, ""))


def _filled(frames: Frames) -> Frames:
    values = Counter(key for key, _ in {pair for frame in frames for pair in identity_of(frame).items()})
    told = {key: text for frame in frames for key, text in frame.identity.items() if values[key] == 1}
    return [
        frame if told.keys() <= frame.identity.keys() else replace(frame, identity={**told, **frame.identity})
        for frame in frames
    ]


def labels_of(parts: Sequence[tuple[str, Frames]]) -> Iterator[str]:
    """Give what tells the volumes of one series UID apart, where description and label do not: ``patient1``.

    Parameters
    ----------
    parts : sequence of (label, frames)
        What tells volumes of one identity apart, such as ``time3``.
    """
    told: list[tuple[str, ...]] = [(label, frames[0].description) for label, frames in parts]
    labels: list[list[str]] = [[] for _ in parts]
    for keyword, word in _WORDS.items():
        values = [_text(keyword)(frames[0]) for _, frames in parts]
        more = [(*known, value) for known, value in zip(told, values, strict=True)]
        if len({*values} - {""}) < 2 or len(set(more)) == len(set(told)):
            continue
        told, order = more, sorted(set(values), key=natural_order)
        for label, value in zip(labels, values, strict=True):
            # Nobody's number becomes the name of a file.
            shown = "" if word == "patient" else value
            label.append(label_of(word, shown, order.index(value) + 1) if value else f"{word}_none")
    return ("_".join(filter(None, (*found, label))) for found, (label, _) in zip(labels, parts, strict=True))


def differences_of(parts: Sequence[Frames]) -> list[str]:
    """Say of each volume of one series UID in what of their identity they differ; nothing where they do not."""
    firsts = [frames[0] for frames in parts]
    differing = [
        keyword
        for keyword in (*STRICT_IDENTITY, *LOOSE_IDENTITY)
        if len({_text(keyword)(frame) for frame in firsts} - {""}) > 1
    ]
    if not differing:
        return [""] * len(parts)
    keyword, others = differing[0], f" and in {', '.join(differing[1:])}" if differing[1:] else ""
    what = f"which differ in {keyword} ({_listed(parts, keyword)}){others}"
    told = f"its SeriesInstanceUID is that of several series, {what}"
    return [f"{told}; this is the one of {keyword} {_shown(frame, keyword)}" for frame in firsts]


def _listed(parts: Sequence[Frames], keyword: str) -> str:
    values = list(dict.fromkeys(_shown(frames[0], keyword) for frames in parts))
    return ", ".join([*values[:_SHOWN], *(["..."] if len(values) > _SHOWN else [])])


def _shown(frame: FrameHeader, keyword: str) -> str:
    """Return a value for messages: of a UID its end."""
    value = frame.identity.get(keyword, "none")
    return f"...{value[-_ENDING:]}" if keyword in _UIDS and len(value) > _ENDING else value

"""Identity of frames: frames of several patients, studies or series are not one volume, even with the same UIDs.

Some anonymisers write one UID for several series or patients. A missing attribute does not differ from any value.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial

from volseg.io.dicom.header import LOOSE_IDENTITY, STRICT_IDENTITY, FrameHeader
from volseg.io.dicom.split import are_volumes, label_of, natural_order

Frames = list[FrameHeader]

# Words for volumes that differ in an attribute; different descriptions already give them different names.
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
# Messages are kept in records and reports, which shall not tell who a patient is.
_PERSONAL = ("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber")


def identity_of(frame: FrameHeader) -> dict[str, str]:
    """Return the identity of a frame in a normal form: without case, spaces and empty parts of names.

    Parameters
    ----------
    frame : FrameHeader
        The frame.
    """
    return {keyword: _plain(keyword, text) for keyword, text in frame.identity.items()}


@lru_cache(maxsize=1 << 12)
def _plain(keyword: str, text: str) -> str:
    if keyword == "PatientName":  # the alphabetic form, if there is one
        text = text.lstrip("=").partition("=")[0].replace("^", " ")
    elif keyword.endswith("Time"):  # the fraction of a second may be missing
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def told_apart(frames: Iterable[FrameHeader], text_of: Callable[[FrameHeader], str]) -> list[Frames]:
    """Group frames by a text; a frame without it joins the group that matches the rest of its identity.

    Such frames form groups of their own if several groups match, or no group.

    Parameters
    ----------
    frames : iterable of FrameHeader
        In any order.
    text_of : callable
        Returns the text of a frame; empty if it is missing.
    """
    groups: dict[str, Frames] = defaultdict(list)
    for frame in frames:
        groups[text_of(frame)].append(frame)
    vague = groups.pop("", [])
    parts = list(groups.values())
    if not parts:
        return [vague]
    if len(parts) == 1:
        return [parts[0] + vague]
    known = list(map(_texts_of, parts))
    rest: Frames = []
    for frame in vague:
        fitting = [part for part, texts in zip(parts, known, strict=True) if _agrees(frame, texts)]
        if len(fitting) == 1:
            fitting[0].append(frame)
        else:
            rest.append(frame)
    if rest:
        parts.append(rest)
    return parts


def _texts_of(frames: Frames) -> dict[str, set[str]]:
    texts: dict[str, set[str]] = defaultdict(set)
    for frame in frames:
        for keyword, text in identity_of(frame).items():
            texts[keyword].add(text)
    return texts


def _agrees(frame: FrameHeader, texts: Mapping[str, set[str]]) -> bool:
    return all(text in texts.get(keyword, {text}) for keyword, text in identity_of(frame).items())


def split_strictly(frames: Sequence[FrameHeader]) -> list[Frames]:
    """Split frames by patient, study, series number, frame of reference and modality.

    Parameters
    ----------
    frames : sequence of FrameHeader
        Frames with one series UID.
    """
    files = len({frame.file for frame in frames})
    present: Counter[str] = Counter()
    for frame in frames:
        present.update(frame.identity.keys())
    keywords = []
    for keyword in STRICT_IDENTITY:
        # A UID that is different in each file does not distinguish studies.
        if keyword in _UIDS and files > 2 and len(_stored(frames, keyword)) == files:
            continue
        keywords.append(keyword)
    # Attributes that most frames have come first; they best assign frames that lack another attribute.
    keywords.sort(key=lambda keyword: -present[keyword])
    return _split(frames, keywords)


def _stored(frames: Sequence[FrameHeader], keyword: str) -> set[str | None]:
    """Return the stored values of an attribute, and None if a frame lacks it."""
    return {frame.identity.get(keyword) for frame in frames}


def _split(frames: Sequence[FrameHeader], keywords: Sequence[str]) -> list[Frames]:
    for keyword in keywords:
        parts = told_apart(frames, partial(_text, keyword))
        if len(parts) > 1:
            found = []
            for part in parts:
                found += _split(part, keywords)
            return found
    return [list(frames)]


def split_loosely(frames: Frames) -> list[tuple[Frames, tuple[str, ...]]]:
    """Split a stack by the texts of its series, such as the description, unless they vary from slice to slice.

    Parameters
    ----------
    frames : list of FrameHeader
        Parallel frames of one patient and series number.

    Returns
    -------
    list of (frames, notes)
        A text that some frames of a volume lack is filled in if it is the same in the others. There is a note for each
        text that varies.
    """
    notes = []
    for keyword in (*LOOSE_IDENTITY, *_UIDS):
        if len(_stored(frames, keyword)) == 1:
            continue
        parts = told_apart(frames, partial(_text, keyword))
        if len(parts) == 1:
            continue
        if are_volumes(parts):
            found = []
            for part in parts:
                found += split_loosely(part)
            return found
        notes.append(
            f"{keyword} varies from slice to slice ({_listed(parts, keyword)}), but only all slices together "
            "are a whole stack; read as one volume"
        )
    return [(_filled(frames), tuple(notes))]


def _text(keyword: str, frame: FrameHeader) -> str:
    return _plain(keyword, frame.identity.get(keyword, ""))


def _filled(frames: Frames) -> Frames:
    """Fill in missing attributes that are the same in all other frames."""
    texts = _texts_of(frames)
    agreed = {}
    for frame in frames:
        for keyword, text in frame.identity.items():
            if len(texts[keyword]) == 1:
                agreed[keyword] = text
    filled = []
    for frame in frames:
        if not agreed.keys() <= frame.identity.keys():
            frame = replace(frame, identity={**agreed, **frame.identity})
        filled.append(frame)
    return filled


def labels_of(parts: Sequence[tuple[str, Frames]]) -> list[str]:
    """Return labels of the volumes with one series UID; description and label alone may be the same: ``patient1``.

    Parameters
    ----------
    parts : sequence of (label, frames)
        The label distinguishes volumes of one identity, such as ``time3``.
    """
    firsts = [frames[0] for _, frames in parts]
    told: list[tuple[str, ...]] = []
    words: list[list[str]] = []
    for label, frames in parts:
        told.append((label, frames[0].description))
        words.append([])
    for keyword, word in _WORDS.items():
        values = [_text(keyword, frame) for frame in firsts]
        more = [(*known, value) for known, value in zip(told, values, strict=True)]
        if len({*values} - {""}) < 2 or len(set(more)) == len(set(told)):
            continue
        told = more
        for found, text in zip(words, _numbered(word, values), strict=True):
            found.append(text)
    labels = []
    for found, (label, _) in zip(words, parts, strict=True):
        labels.append("_".join(filter(None, (*found, label))))
    return labels


def _numbered(word: str, values: Sequence[str]) -> list[str]:
    """Return for each value the word with the value or with its rank among the values."""
    # By text first: long numbers may be equal to `natural_order`, and the order of a set is another in each process.
    order = sorted(sorted(set(values)), key=natural_order)
    texts = []
    for value in values:
        if value:
            # The number of a patient must not become the name of a file.
            shown = "" if word == "patient" else value
            texts.append(label_of(word, shown, order.index(value) + 1))
        else:
            texts.append(f"{word}_none")
    return texts


def differences_of(parts: Sequence[Frames]) -> list[str]:
    """Describe for each volume of one series UID how the identities differ; empty texts if they do not.

    Parameters
    ----------
    parts : sequence of lists of FrameHeader
        The volumes.
    """
    firsts = [frames[0] for frames in parts]
    differing = []
    for keyword in (*STRICT_IDENTITY, *LOOSE_IDENTITY):
        texts = set(map(partial(_text, keyword), firsts))
        if len(texts - {""}) > 1:
            differing.append(keyword)
    if not differing:
        return [""] * len(parts)
    keyword, *others = differing
    personal = keyword in _PERSONAL
    what = keyword if personal else f"{keyword} ({_listed(parts, keyword)})"
    if others:
        what += f" and {', '.join(others)}"
    told = f"several series have its SeriesInstanceUID, but differ in {what}"
    if personal:
        return [told] * len(parts)
    return [f"{told}; this one has {keyword} {_shown(frame, keyword)}" for frame in firsts]


def _listed(parts: Sequence[Frames], keyword: str) -> str:
    values: dict[str, None] = {}
    for frames in parts:
        values[_shown(frames[0], keyword)] = None
    more = ["..."] if len(values) > _SHOWN else []
    return ", ".join([*list(values)[:_SHOWN], *more])


def _shown(frame: FrameHeader, keyword: str) -> str:
    """Return a value for messages; a UID is shortened to its end."""
    value = frame.identity.get(keyword, "none")
    return f"...{value[-_ENDING:]}" if keyword in _UIDS and len(value) > _ENDING else value

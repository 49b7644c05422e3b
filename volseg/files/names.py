"""File names: which formats are known by them, the name of a case, file names made from label names."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from volseg.errors import UsageError


@dataclass(frozen=True)
class ImageFormat:
    """An image format, as file names tell it.

    Parameters
    ----------
    name : str
        What people call it.
    module : str
        Its module in `volseg.io.images`, imported when a file of the format is met. It has ``open_image(path)`` and, if
        the format is written, ``write_image(volume, path)``.
    suffixes : tuple of str
        Of files with a header. Each such file of a folder is a case, or the mask of a structure.
    voxel_suffixes : tuple of str
        Of files with the voxels alone. They are read through the header beside them, and not listed.
    written : tuple of str
        Under which of `suffixes` it is written.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    voxel_suffixes: tuple[str, ...] = ()
    written: tuple[str, ...] = ()


# DICOM files are known by their content.
NIFTI = ImageFormat(
    "NIfTI",
    "nifti",
    suffixes=(".nii", ".nii.gz", ".hdr", ".hdr.gz"),
    voxel_suffixes=(".img", ".img.gz"),
    written=(".nii", ".nii.gz"),
)
NRRD = ImageFormat("NRRD", "itk", suffixes=(".nrrd", ".nhdr"), written=(".nrrd",))
METAIMAGE = ImageFormat("MetaImage", "itk", suffixes=(".mha", ".mhd"), written=(".mha",))
MGH = ImageFormat("MGH", "mgh", suffixes=(".mgz", ".mgh", ".mgh.gz"), written=(".mgz",))
IMAGE_FORMATS = (NIFTI, NRRD, METAIMAGE, MGH)

CASE_SUFFIXES = tuple(suffix for form in IMAGE_FORMATS for suffix in form.suffixes)
VOXEL_SUFFIXES = tuple(suffix for form in IMAGE_FORMATS for suffix in form.voxel_suffixes)
IMAGE_SUFFIXES = (*CASE_SUFFIXES, *VOXEL_SUFFIXES)
SCAN_SUFFIXES = tuple(suffix for form in IMAGE_FORMATS for suffix in form.written)
SEG_NRRD_SUFFIXES = (".seg.nrrd",)  # 3D Slicer's labels; these names end like a NRRD image too
# Files written with these names hold labels.
LABEL_SUFFIXES = (*SEG_NRRD_SUFFIXES, ".dcm")
PAGE_SUFFIXES = (".html", ".htm")
# For messages and help texts.
_NAMES = [form.name for form in IMAGE_FORMATS]
IMAGE_NAMES = f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}"
READABLE_FORMATS = ", ".join(f"{form.name} ({', '.join(form.suffixes)})" for form in IMAGE_FORMATS) + " and DICOM"

_STRIPPED = (*LABEL_SUFFIXES, *IMAGE_SUFFIXES, ".zip", ".tsv", ".csv", ".json")
# Bytes that file systems take, in which numbers, suffixes and the names of temporary files have their place too.
LONGEST_NAME = 255
_MOST_CHARACTERS, _MOST_BYTES = 80, 200
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def has_suffix(path: str | Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a file name ends with one of the suffixes, in upper or lower case."""
    return Path(path).name.lower().endswith(suffixes)


def check_suffix(path: str | Path, suffixes: tuple[str, ...], *, what: str) -> None:
    """Check that the name of a file to be written ends as its format needs.

    Parameters
    ----------
    path : path
    suffixes : tuple of str
        In lower case; the first is the one to recommend.
    what : str
        ``picture`` or the like, for the error.

    Raises
    ------
    UsageError
        It has none of them.
    """
    if Path(path).suffix.lower() not in suffixes:
        raise UsageError(f"name of the {what} is {path}; expected a name that ends in {suffixes[0]}")


def image_format(path: str | Path) -> ImageFormat | None:
    """Return the image format that a file name says; None for a name of no image format."""
    for form in IMAGE_FORMATS:
        if has_suffix(path, (*form.suffixes, *form.voxel_suffixes)):
            return form
    return None


def case_name(path: str | Path) -> str:
    """Return the name of a file or folder without the suffix of its format.

    Only suffixes of known formats are taken off, so ``1.2.840.10008`` and ``scan_v1.2.nii.gz`` keep their dots.
    """
    name = Path(path).name
    if name in ("", ".."):
        name = Path(path).resolve().name
    suffix = next((s for s in _STRIPPED if name.lower().endswith(s) and len(name) > len(s)), "")
    return name[: len(name) - len(suffix)]


def portable_name(label_name: str) -> str:
    """Return a file name (without suffix) for a label name that Linux, macOS and Windows all accept.

    Letters and digits of any script, ``.``, ``-``, ``+`` and ``_`` stay; other characters in a row become one ``_``.
    Two names may become the same; the caller handles that.
    """
    text = unicodedata.normalize("NFC", label_name)
    text = re.sub(r"[^\w.+-]+", "_", text)[:_MOST_CHARACTERS].encode()[:_MOST_BYTES].decode(errors="ignore").strip("._")
    return f"{text or 'label'}_" if not text or _RESERVED.fullmatch(text) else text


def with_digits(name: str, digits: str) -> str:
    """Return a name with a hyphen and digits appended, shortened if it would be too long for a file system."""
    while len(os.fsencode(f"{name}-{digits}")) > LONGEST_NAME:
        name = name[:-1]
    return f"{name}-{digits}"


def distinct_names(label_names: Iterable[str]) -> list[str]:
    """Return the `portable_name` of each; if two become the same, the later one gets a number.

    Names that differ only in upper and lower case are the same, as on some file systems.
    """
    names: list[str] = []
    taken: set[str] = set()
    for label_name in label_names:
        names.append(free_name(portable_name(label_name), lambda name: name.casefold() in taken))
        taken.add(names[-1].casefold())
    return names


def free_name(name: str, is_taken: Callable[[str], bool], *, number: str = "") -> str:
    """Return a name, with its number behind it where it is taken, and a count where that is taken too."""
    numbered = f"{name}_{number}" if number else name
    candidates = chain((name, numbered), (f"{numbered}_{n}" for n in count(2)))
    return next(candidate for candidate in candidates if not is_taken(candidate))


def shown_path(path: str | Path, *, full: bool = False) -> str:
    """Return a path as files that are passed on may hold it: without the folders that say whose machine it was on.

    Parameters
    ----------
    path : path
        Of a file or folder.
    full : bool
        Give it in full all the same.

    Returns
    -------
    str
        Relative to the working folder if it lies in that, else its name alone; with ``/`` on every system.
    """
    whole = Path(os.path.abspath(path))  # noqa: PTH100 (a link keeps its name)
    if full:
        return whole.as_posix()
    here = Path.cwd()
    return whole.relative_to(here).as_posix() if here in whole.parents else whole.name


def with_shown_paths(text: str, paths: Iterable[Path], *, full: bool = False) -> str:
    """Return a message with the paths of a scan as records show them.

    Parameters
    ----------
    text : str
    paths : iterable of path
        Names without a folder are left as they are.
    full : bool
        As for `shown_path`.
    """
    for path in paths:
        if path.name != str(path) and path.parent != path:
            text = text.replace(str(path), shown_path(path, full=full))
    return text

"""One form of a scan, label map or probabilities into another."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Unpack

from volseg.conversion.labels import convert_labels, convert_masks, put_on_grid
from volseg.conversion.modality import check_modality, of_modality
from volseg.conversion.probabilities import convert_probabilities
from volseg.conversion.scans import FORMATS, ConvertedVolume, convert_all
from volseg.conversion.settings import FRACTIONAL, ConversionOptions, ConversionSettings, is_folder
from volseg.core.volume import Volume
from volseg.errors import InputError, UsageError
from volseg.files.atomic import check_free
from volseg.files.names import IMAGE_NAMES, LABEL_SUFFIXES, SEG_NRRD_SUFFIXES, has_suffix
from volseg.files.plain_text import first_few
from volseg.io import Catalogue, look, write
from volseg.io.dicom import DicomSource
from volseg.io.labels import has_label_table, mask_files, names_of, single_label_map

__all__ = ["FORMATS", "FRACTIONAL", "ConversionOptions", "ConvertedVolume", "convert", "convert_all", "put_on_grid"]

_LOG = logging.getLogger(__name__)

Content = Literal["scan", "labels", "probabilities"]


def convert(
    source: str | Path | Sequence[str | Path], target: str | Path, **options: Unpack[ConversionOptions]
) -> list[Path]:
    """Read a scan, label map or probabilities in one form and write it in another.

    The source is read as labels if `labels`, `only`, `form`, `image` or `merge` is given; if there are several
    sources; if the target is ``.seg.nrrd`` or ``.dcm``; if the source is a ``.seg.nrrd``, a folder of masks, or a
    single DICOM segmentation or structure set; or if it has a label table beside it or in its header. Otherwise it
    is read as a scan.

    Parameters
    ----------
    source : path, or sequence of path
        A source of `volseg.read` or `volseg.read_labels`; the folder of a predicted case, for its label map; or a
        folder with one image file and no DICOM. Several files are masks, each of the structure that it is named after,
        without the name of the case with which all begin (``case_1_liver.nii.gz``, ``case_1_spleen.nii.gz``).
    target : path
        ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``, ``.mgz``; for a scan also a folder for a DICOM series; for labels
        also ``.seg.nrrd``, and ``.dcm`` with an image. Values are kept; fractions become float32.
    series : str, optional
        The series or volume of the source. For labels with an image it is the series of the image, unless it is the
        name of a volume of the source; the default is the series that the labels refer to.
    labels : path, optional
        Table of label names and colours; the source is then read as labels.
    only : sequence of str, optional
        The wanted labels by name, value or pattern, as for `volseg.read_labels`.
    image : path, optional
        The scan that the labels were made on. They are written on its grid, and DICOM objects refer to it.
    form : {"seg", "labelmap", "rtstruct", "fractional"}, optional
        The kind of a ``.dcm`` file. ``fractional`` holds probabilities, which NIfTI holds along a fourth axis.
    modality : {"CT", "MR"}, optional
        Modality of the written DICOM series. The default is that of the source, or of the JSON file that dcm2niix
        writes beside a NIfTI file; else it is taken from the values, with a warning.
    merge : bool
        Write one label map where labels overlap: each voxel goes to the smallest structure there (see
        `volseg.core.merging`), and a warning says how many voxels which label gave to which. The image files of a
        folder are then masks, whatever they are called.
    strict : bool
        Refuse DICOM stacks that need a repair.
    overwrite : bool
        Replace existing files.

    Returns
    -------
    list of Path
        The files written. If the format cannot hold the names of labels, they are in ``<stem>.tsv``. Labels that
        overlap are written as ``<stem>_1``, ``<stem>_2`` and so on, or as layers of a ``.seg.nrrd``, unless they are
        merged.

    Raises
    ------
    UsageError
        Arguments that contradict each other or the target.
    InputError, GeometryError
        The source or image cannot be read, or more than half of the labelled voxels lie outside the image.
    OutputError
        A target exists already, or cannot be written.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> files = volseg.write(make_ct_phantom(seed=1).volume, "scan.nii.gz")
    >>> [path.name for path in volseg.convert("scan.nii.gz", "scan.mha")]
    ['scan.mha']
    """
    target, settings = Path(target), ConversionSettings(**options)
    sources = [Path(source)] if isinstance(source, str | Path) else list(map(Path, source))
    if masks := _masks(sources, settings):
        _check_other(masks, target)
        return convert_masks(masks, target, settings)
    found = _one_source(look(sources[0]), target, known=names_of(settings.labels))
    _check_other([found.path], target)
    check_free([target], overwrite=settings.overwrite)
    content = _said_content(found, target, settings) or _content(found, target)
    modality = check_modality(settings.modality, to_dicom=content == "scan" and is_folder(target))
    if content == "probabilities":
        return convert_probabilities(found, target, settings)
    if content == "labels":
        return convert_labels(found, target, settings)
    volume = found.scan(settings.series).read(strict=settings.strict)
    volume = of_modality(volume, found.path, modality)
    written = write(volume, target)
    if found.is_dicom:
        _note_labels(found, volume)
    return written


def _masks(sources: Sequence[Path], settings: ConversionSettings) -> list[Path]:
    """Return several sources, which are masks, or the image files of a folder whose masks are to be merged."""
    if not sources:
        raise UsageError("no source is given; expected a scan, label map or masks")
    if len(sources) > 1:
        if folders := [str(path) for path in sources if path.is_dir()]:
            raise UsageError(f"{first_few(folders)}: of several sources each is the file of a mask; give folders alone")
        return [look(path).path for path in sources]
    if not settings.merge or not sources[0].is_dir():
        return []
    found = look(sources[0])
    if found.is_dicom or mask_files(found, known=names_of(settings.labels)) or single_label_map(found):
        return []
    return [file for file in found.files_in(found.path) if file in found.image_files]


def _check_other(sources: Sequence[Path], target: Path) -> None:
    if target.resolve() in [path.resolve() for path in sources]:
        raise UsageError(f"{target}: is the input; choose another name")


def _one_source(found: Catalogue, target: Path, *, known: Sequence[str]) -> Catalogue:
    """Return the label map or masks of a case, or the one image of a folder without DICOM; else `found`."""
    folder = found.path
    if not folder.is_dir() or found.is_dicom:
        return found
    own = single_label_map(found, known=known)
    if own == folder:
        return found
    if own is not None:
        return Catalogue(own)
    files = [file for file in found.image_files if file.resolve() != target.resolve()]
    if len(files) > 1:
        names = first_few([str(file.relative_to(folder)) for file in files])
        raise InputError(
            f"{folder}: holds {len(files)} {IMAGE_NAMES} files ({names}), no DICOM; give one of them; --all converts "
            "every one; --merge makes one label map of masks"
        )
    return Catalogue(files[0]) if files else found


def _said_content(found: Catalogue, target: Path, settings: ConversionSettings) -> Content | None:
    """Return the kind by arguments and file names; None if they leave it open."""
    if settings.form == FRACTIONAL:
        return "probabilities"
    if settings.merge or settings.labels or settings.only or settings.form or settings.image or mask_files(found):
        return "labels"
    return "labels" if has_suffix(target, LABEL_SUFFIXES) or has_suffix(found.path, SEG_NRRD_SUFFIXES) else None


def _content(found: Catalogue, target: Path) -> Content:
    """Return the kind by the source itself."""
    if found.is_dicom:
        return "labels" if found.dicom.labels and not found.dicom.series else "scan"
    return "labels" if has_label_table(found.path) and not is_folder(target) else "scan"


def _note_labels(found: Catalogue, volume: Volume) -> None:
    """Warn of labels beside a scan that were made on it: they are not converted with it."""
    uid = volume.source.series_uid if isinstance(volume.source, DicomSource) else None
    for labels in found.dicom.labels:
        if uid in labels.reference.series_uids:
            _LOG.info(
                "%s: labels of this scan; they are converted on their own, by --image %s", labels.file, found.path
            )

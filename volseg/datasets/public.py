"""Get a public training set: from its host, from a mirror, or from an archive that is here already."""

from __future__ import annotations

import hashlib
import logging
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from volseg.datasets import read_dataset
from volseg.datasets.catalogue import HOST, PublicDataset, find_public
from volseg.datasets.download import CHUNK, download
from volseg.errors import DatasetError, InputError, MissingPackageError, OutputError, UsageError
from volseg.files.regular import regular_file
from volseg.progress import Progress, ignore_progress

_LOG = logging.getLogger(__name__)


def get_dataset(
    name: str,
    folder: str | Path | None = None,
    *,
    archive: str | Path | None = None,
    url: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a public training set, check its digest, and unpack it; all of it appears, or none of it.

    Parameters
    ----------
    name : str
        A name of `volseg.datasets.catalogue`, such as ``msd:Task04_Hippocampus``.
    folder : path, optional
        Where the dataset shall be; a complete dataset there is kept. Default: the dataset's own name, here.
    archive : path, optional
        The ``.tar`` file, if it is here already; then nothing is downloaded.
    url : str, optional
        Where a mirror has the ``.tar`` files, instead of `HOST`; http or https.
    progress : Progress, optional
        Called with (``downloading``, ``checking`` or ``unpacking``, bytes done, bytes in all).

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UsageError
        An unknown name, both `archive` and `url`, or something else where the dataset shall be.
    InputError
        The archive cannot be downloaded or read, has another digest, could write outside its folder, or holds no
        complete dataset.
    OutputError
        The folder cannot be written, or the disk is full.
    MissingPackageError
        This Python is older than 3.11.4, the first that unpacks safely.
    """
    dataset = find_public(name)
    source = _source(dataset, archive, url)
    target, report = Path(folder or dataset.folder), progress or ignore_progress
    if target.exists():
        _check_kept(target)
        return target
    if not hasattr(tarfile, "data_filter"):
        raise MissingPackageError("this Python cannot unpack safely; expected Python 3.11.4 or newer: install one")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".volseg-", dir=target.parent) as temporary:
            packed = _fetch(source, Path(temporary, "archive.tar"), dataset, report)
            unpacked = Path(temporary, "unpacked")
            _unpack(packed, unpacked, source, report)
            if problem := _problem(unpacked / dataset.folder):
                problem = problem.replace(f"{unpacked}{os.sep}", "")
                raise InputError(
                    f"{source}: holds no complete dataset {dataset.folder}: {problem}; try another archive"
                )
            (unpacked / dataset.folder).replace(target)
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written ({error.strerror or error}); check the folder and the disk"
        ) from error
    return target


def _fetch(source: Path | str, temporary: Path, dataset: PublicDataset, report: Progress) -> Path:
    """Return where the archive is, downloaded if need be, once its digest is right."""
    if isinstance(source, Path):
        packed, found = source, _digest(source, report)
    else:
        packed, found = temporary, download(source, temporary, report)
    if found != dataset.md5:
        raise InputError(
            f"{source}: its MD5 digest is {found}; expected {dataset.md5}: damaged, or not msd:{dataset.folder}; "
            "download it again, from another place if need be (--url, --archive)"
        )
    return packed


def _source(dataset: PublicDataset, archive: str | Path | None, url: str | None) -> Path | str:
    """Return the path of the archive, or its address."""
    if archive is not None and url is not None:
        raise UsageError("--archive takes a file from this machine and --url downloads one; give one of them")
    if url is not None and not url.lower().startswith(("http://", "https://")):
        raise UsageError(f"--url is {url!r}; expected an address that starts with https:// or http://")
    return f"{(url or HOST).rstrip('/')}/{dataset.folder}.tar" if archive is None else Path(archive)


def _check_kept(folder: Path) -> None:
    if problem := _problem(folder):
        raise UsageError(f"{folder}: exists and is no complete dataset: {problem}; remove it or choose another with -o")
    _LOG.info("%s: is a complete dataset already and is kept; remove it to get it anew", folder)


def _problem(folder: Path) -> str:
    """Return what keeps a folder from being a complete dataset; nothing where it is one."""
    if not (folder / "dataset.json").is_file():
        return "there is no dataset.json in it"
    try:
        dataset = read_dataset(folder)
    except (DatasetError, InputError) as error:
        return str(error)
    files: list[Path] = []
    for case in dataset.cases:
        files += [*case.images, *case.label_files]
    missing = [path for path in files if not path.exists()]
    return f"{len(missing)} of {len(files)} files are missing, such as {missing[0]}" if missing else ""


def _digest(path: Path, report: Progress) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    regular_file(path)
    try:
        total = path.stat().st_size
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                report("checking", stream.tell(), total)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the dataset's .tar file") from error
    return digest.hexdigest()


def _unpack(packed: Path, folder: Path, source: Path | str, report: Progress) -> None:
    total = packed.stat().st_size
    try:
        with tarfile.open(packed, "r:") as archive:
            archive.extractall(folder, members=_members(archive, total, report), filter="data")
    except tarfile.TarError as error:
        raise InputError(f"{source}: cannot be unpacked ({error}); expected the dataset's plain .tar file") from error


def _members(archive: tarfile.TarFile, total: int, report: Progress) -> Iterator[tarfile.TarInfo]:
    """Give the files and folders of an archive; what leads outside is refused, what macOS adds is left out."""
    for member in archive:
        path = PureWindowsPath(member.name)  # understands both kinds of slash, and drives
        if path.anchor or ".." in path.parts or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name!r} is a link or a device, or leads outside the folder")
        if not path.name.startswith("._"):
            yield member
        report("unpacking", member.offset_data + member.size, total)

"""Scans that planning has read, kept in files until their slices are prepared."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from volseg.core.layout import Layout
from volseg.core.volume import Volume
from volseg.datasets import Case, read_images
from volseg.io.scan_files import file_state
from volseg.training.cache import load_array, save_array

_SHARE_OF_DISK = 0.5  # of what is free, at most


@dataclass(frozen=True)
class _Kept:
    """The channels of a case, mapped from files; `state` is that of the files they were decoded from."""

    state: str
    volumes: list[Volume]
    files: list[Path]
    size: int  # bytes


class KeptScans:
    """Reads scans, and keeps their voxels in files, which is quicker than to decode them again.

    The files are mapped into memory and take none of their own. A scan is not kept if the disk has no room for it, or
    if its voxels have gaps in memory: it is read again then. At the end of a ``with`` block all files are removed.

    Parameters
    ----------
    folder : Path
        For the files; what is in it already is removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, _Kept] = {}
        shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Self:
        """Return the scans; the block reads them."""
        return self

    def __exit__(self, *error: object) -> None:
        """Remove all files; nobody uses the volumes any more."""
        self._kept.clear()  # on Windows a file that is mapped cannot be removed
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def size(self) -> int:
        """Bytes that all files take."""
        return sum(kept.size for kept in self._kept.values())

    def read_and_keep(self, case: Case) -> list[Volume]:
        """Read the channels of a case, and keep them.

        Parameters
        ----------
        case : Case
        """
        state = file_state(case.images)  # before they are read: if they change meanwhile, they are read again
        volumes = read_images(case)
        if self._can_keep(volumes):
            self._kept[case.name] = self._keep(case, state, volumes)
        return volumes

    def read(self, case: Case) -> list[Volume]:
        """Return the channels of a case: as they were kept, unless the files have changed.

        Parameters
        ----------
        case : Case
        """
        kept = self._kept.get(case.name)
        if kept is not None and kept.state == file_state(case.images):
            return kept.volumes
        return read_images(case)

    def remove(self, case: Case) -> None:
        """Remove the files of a case; its volumes must no longer be in use.

        Parameters
        ----------
        case : Case
        """
        kept = self._kept.pop(case.name, None)
        if kept is None:
            return
        files = kept.files
        del kept  # on Windows a file that is mapped cannot be removed
        for file in files:
            file.unlink(missing_ok=True)

    def _can_keep(self, volumes: Sequence[Volume]) -> bool:
        for volume in volumes:
            if not Layout.of(volume.array).in_memory_order(volume.array).flags.c_contiguous:
                return False
        self._folder.mkdir(parents=True, exist_ok=True)
        needed = self.size + sum(volume.array.nbytes for volume in volumes)
        return needed <= _SHARE_OF_DISK * (shutil.disk_usage(self._folder).free + self.size)

    def _keep(self, case: Case, state: str, volumes: Sequence[Volume]) -> _Kept:
        mapped, files = [], []
        for number, volume in enumerate(volumes):
            file = self._folder / f"{case.name}.{number}.npy"
            layout = Layout.of(volume.array)
            save_array(layout.in_memory_order(volume.array), file)
            mapped.append(volume.with_array(layout.restore(load_array(file))))
            files.append(file)
        return _Kept(state, mapped, files, sum(volume.array.nbytes for volume in volumes))

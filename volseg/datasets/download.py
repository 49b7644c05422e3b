"""Download a file: the only module that uses the network to fetch anything."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from volseg._version import __version__
from volseg.errors import InputError
from volseg.progress import Progress

CHUNK = 1 << 20

_TIMEOUT_S = 60


def download(url: str, path: Path, progress: Progress) -> str:
    """Download a file, and return its MD5 digest.

    Parameters
    ----------
    url : str
        http or https. A download is not resumed.
    path : path
        A temporary file; after a failure it holds the received part.
    progress : Progress
        Called with ("downloading", bytes done, bytes in all).

    Raises
    ------
    InputError
        The address does not answer, not in time, with an error, or breaks off.
    OSError
        The file cannot be written.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("wb") as stream, closing(_fetch(url)) as chunks:
        for chunk, total in chunks:
            stream.write(chunk)
            digest.update(chunk)
            progress("downloading", stream.tell(), total)
    return digest.hexdigest()


def _fetch(url: str) -> Generator[tuple[bytes, int], None, None]:
    """Give the bytes of an address piece by piece, each with the size of the whole (0: not known)."""
    done = 0
    try:
        request = Request(url, headers={"User-Agent": f"volseg/{__version__}"})
        with urlopen(request, timeout=_TIMEOUT_S) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(CHUNK):
                done += len(chunk)
                yield chunk, total
        if done < total:  # http.client does not say so
            raise InputError(f"{url}: broke off after {done} of {total} bytes; try again")
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, HTTPError):
            error.close()
            reason = f"the server answers {error.code} {error.reason}"
        elif isinstance(reason, TimeoutError):
            reason = f"no answer within {_TIMEOUT_S} s"
        raise InputError(
            f"{url}: cannot be downloaded ({reason}); try again, or give a mirror (--url) or the file (--archive)"
        ) from error

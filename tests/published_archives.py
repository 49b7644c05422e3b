"""A made-up public training set: its archive, and a server on this machine that has it."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from volseg.datasets.catalogue import CATALOGUE, PublicDataset

UNPACKS = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="this Python, older than 3.11.4, unpacks no archive safely"
)
NAME = "msd:Task99_Toy"
FOLDER = "Task99_Toy"


def pack(folder: Path, *extra: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return a plain tar archive of a folder, with the files that macOS adds, and more members at its end."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(folder, arcname=folder.name)
        for name in (f"{folder.name}/._dataset.json", f"{folder.name}/imagesTr/._toy_0.nii.gz", f"._{folder.name}"):
            add(archive, tarfile.TarInfo(name), b"Mac OS X")
        for member, content in extra:
            add(archive, member, content)
    return stream.getvalue()


def add(archive: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def publish(monkeypatch: pytest.MonkeyPatch, archive: bytes) -> str:
    """Put an archive into the catalogue under `NAME`; return its digest."""
    digest = hashlib.md5(archive, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(CATALOGUE, NAME, PublicDataset(FOLDER, digest, "CT: made up"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return digest


@contextmanager
def serving(body: bytes, *, length: int | None = None, asked: list[tuple[str, str]] | None = None) -> Iterator[str]:
    """Give the address of a server that has `body` as the toy's archive, and says that it has `length` bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append((self.path, self.headers["User-Agent"]))
            if urlsplit(self.path).path != f"/mirror/{FOLDER}.tar":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        log_message: Callable[..., None] = lambda *_: None

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/mirror"
        finally:
            server.shutdown()
            thread.join()


def dead_address() -> str:
    """Return an address on this machine without a server."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_port}/mirror"

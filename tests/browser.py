"""A headless Chromium without a network, driven by its DevTools protocol over pipes; no driver package is needed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_SECONDS = 120
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Browser:
    """One tab. `requests` has the address of each request, `complaints` all errors and warnings of the console."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._rest, self._count, self._session = b"", 0, ""
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def start(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and wait for its answer."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._reading, 1 << 20)
            if not piece:
                raise RuntimeError("the browser ended")
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        event: dict[str, Any] = json.loads(text)
        self._note(event.get("method", ""), event.get("params", {}))
        return event

    def _note(self, method: str, facts: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(facts["exceptionDetails"].get("exception", {}).get("description")))
        elif method == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([entry.get("value") for entry in facts["args"]]))
        elif method == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning"):
            self.complaints.append(facts["entry"]["text"])

    def open(self, path: Path, *, size: tuple[int, int] = (1280, 800), dark: bool = True) -> str:
        """Open a page from disk, and wait until it says that it is ready; return how much of it works."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            if ready := self.run("document.body?.dataset.ready ?? ''"):
                self.settle()
                return str(ready)
            time.sleep(0.1)
        raise TimeoutError(f"the page is not ready after {_SECONDS} s: {self.complaints}")

    def follow(self, selector: str) -> str:
        """Click a link, wait until its page says that it is ready, and return where that is."""
        before = self.run("location.href")
        self.run(f'setTimeout(() => document.querySelector("{selector}").click())')
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            with suppress(RuntimeError):  # between two pages there is nothing to ask
                address = str(self.run("document.body?.dataset.ready ? location.href : ''"))
                if address not in ("", before):
                    return address
            time.sleep(0.1)
        raise TimeoutError(f"{selector} has not led to another page in {_SECONDS} s: {self.complaints}")

    def run(self, code: str) -> Any:
        """Return the value of an expression in the page."""
        done = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(str(done["exceptionDetails"]))
        return done["result"].get("value")

    def settle(self) -> None:
        """Wait until the page has drawn what was asked for."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def pixels(self, plane: str) -> str:
        """Return a digest of what the canvas of a view shows."""
        self.settle()
        digest: str = self.run(
            f"""(() => {{
              const canvas = document.querySelector(".tile[data-plane='{plane}'] canvas");
              const copy = document.createElement("canvas");
              [copy.width, copy.height] = [canvas.width, canvas.height];
              // A canvas of WebGL is empty after it was shown, so it is drawn and read at once.
              if ("{plane}" === "3D") page.surfaces.nv.drawScene();
              copy.getContext("2d").drawImage(canvas, 0, 0);
              const data = copy.getContext("2d").getImageData(0, 0, copy.width, copy.height).data;
              let hash = 0, colours = new Set();
              for (let n = 0; n < data.length; n += 4) {{
                const colour = data[n] + 256 * data[n + 1] + 65536 * data[n + 2];
                hash = (hash * 31 + colour) % 4294967291;
                if (colours.size < 100) colours.add(colour);
              }}
              return hash + " " + colours.size;
            }})()"""
        )
        return digest

    def screenshot(self, path: Path) -> Path:
        """Write a PNG of the page."""
        self.settle()
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path


@contextmanager
def opened_browser(*options: str) -> Iterator[Browser]:
    """Start a browser with more options; skip the test where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"no browser on this machine ({', '.join(_NAMES)})")
    fcntl = pytest.importorskip("fcntl", reason="the browser is driven over pipes, which Windows hands on otherwise")
    to_browser, writing = os.pipe()
    reading, from_browser = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        command += [f"--user-data-dir={profile}", "--no-first-run", "--remote-debugging-pipe", "--disable-gpu-watchdog"]

        def as_files_3_and_4() -> None:
            """Let the browser read commands from file 3 and answer into file 4."""
            high = [fcntl.fcntl(pipe, fcntl.F_DUPFD, 10) for pipe in (to_browser, from_browser)]
            for file, pipe in enumerate(high, start=3):
                os.dup2(pipe, file)

        process = subprocess.Popen(
            [*command, *options], pass_fds=(3, 4), preexec_fn=as_files_3_and_4, stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        browser = Browser(reading, writing)
        try:
            browser.start()
            yield browser
        finally:
            process.terminate()
            process.wait(30)
            os.close(writing)
            os.close(reading)

"""A turn of a scene about the head axis, as an animated GIF or an MP4 film."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from volseg.core.volume import Volume
from volseg.errors import UsageError
from volseg.files.atomic import atomic_path
from volseg.files.names import check_suffix, has_suffix
from volseg.view.content import Meshes, make_scene
from volseg.view.renderer import draw_frames

TURNTABLE_SUFFIXES = (".gif", ".mp4")
_FRAME_MS = {".gif": 80, ".mp4": 40}  # GIF counts in hundredths of a second
_COLOURS = 256
_PALETTE_FRAMES = 8
_SECONDS = (0.5, 120.0)


def save_turntable(
    path: str | Path,
    *,
    meshes: Meshes = (),
    volume: Volume | None = None,
    size: tuple[int, int] = (800, 600),
    seconds: float = 6.0,
) -> Path:
    """Draw meshes and slices of a scan as they turn about the head axis once, in a film that runs on without a seam.

    Parameters
    ----------
    path : path
        A name that ends in ``.gif`` (12.5 pictures a second), or in ``.mp4`` (25; needs imageio-ffmpeg).
    meshes, volume
        As for `save_screenshot`, whose direction is that of the first picture.
    size : (int, int)
        Width and height in pixels; for MP4 an odd number becomes the even one below.
    seconds : float
        Of the turn, 0.5 to 120.

    Returns
    -------
    Path
        The written file.

    Raises
    ------
    InputError
        Neither a mesh with faces nor a scan is given.
    RenderError
        No renderer works on this machine; the message says what to install.
    UsageError
        The name has another suffix, imageio-ffmpeg is needed and missing, or the seconds are out of range.
    OutputError
        The file cannot be written.
    """
    suffix = check_turntable(path)
    if not _SECONDS[0] <= seconds <= _SECONDS[1]:
        raise UsageError(f"a turn of {seconds:g} s; expected {_SECONDS[0]:g} to {_SECONDS[1]:g} s")
    if suffix == ".mp4":
        size = size[0] // 2 * 2, size[1] // 2 * 2
    scene = make_scene(meshes=meshes, volume=volume)
    with atomic_path(path) as temporary, tempfile.TemporaryDirectory() as folder:
        frames = draw_frames(scene, size, Path(folder), round(1000 * seconds / _FRAME_MS[suffix]))
        if suffix == ".gif":
            _write_gif(temporary, frames)
        else:
            _write_mp4(temporary, frames, size)
    return Path(path)


def check_turntable(path: str | Path) -> str:
    """Return the suffix of a film that can be written here.

    Parameters
    ----------
    path : path

    Raises
    ------
    UsageError
        The name has another suffix, or imageio-ffmpeg is needed and missing.
    """
    check_suffix(path, TURNTABLE_SUFFIXES, what="turntable")
    if has_suffix(path, (".gif",)):
        return ".gif"
    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError:
        raise UsageError(f"{path}: MP4 needs a package: pip install imageio-ffmpeg; a .gif needs none") from None
    return ".mp4"


def _write_gif(path: Path, frames: Sequence[Path]) -> None:
    """Write frames with one palette for all, so that colours do not flicker and what stays the same costs nothing."""
    palette = _common_palette(frames)
    first, *others = (_with_palette(frame, palette) for frame in frames)
    first.save(
        path, format="GIF", save_all=True, append_images=others, duration=_FRAME_MS[".gif"], loop=0, optimize=False
    )


def _common_palette(frames: Sequence[Path]) -> Image.Image:
    chosen = frames[:: -(-len(frames) // _PALETTE_FRAMES)]
    side_by_side = np.concatenate([np.asarray(_opened(frame)) for frame in chosen], axis=1)
    return Image.fromarray(side_by_side).quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)


def _with_palette(frame: Path, palette: Image.Image) -> Image.Image:
    return _opened(frame).quantize(palette=palette, dither=Image.Dither.NONE)


def _opened(frame: Path) -> Image.Image:
    with Image.open(frame) as image:
        return image.convert("RGB")


def _write_mp4(path: Path, frames: Sequence[Path], size: tuple[int, int]) -> None:
    import imageio_ffmpeg

    film = imageio_ffmpeg.write_frames(
        str(path), size, fps=1000 / _FRAME_MS[".mp4"], quality=7, macro_block_size=2, ffmpeg_log_level="error"
    )
    film.send(None)
    for pixels in _pixels(frames):
        film.send(pixels)
    film.close()


def _pixels(frames: Sequence[Path]) -> Iterator[bytes]:
    for frame in frames:
        yield _opened(frame).tobytes()

"""Intensities to grey values, for pictures of a scan."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float
from volseg.core.intensity import is_like_ct, percentiles, sample
from volseg.core.volume import Volume

SOFT_TISSUE_HU = (-160.0, 240.0)
# Windows of CT by name, HU: black and white.
CT_WINDOWS: dict[str, tuple[float, float]] = {
    "soft tissue": SOFT_TISSUE_HU,
    "lung": (-1350.0, 150.0),
    "bone": (-450.0, 1050.0),
    "brain": (0.0, 80.0),
}
# Of 256 levels: most in the window that is shown first, as there each is a grey value of its own.
_BELOW, _WITHIN, _ABOVE = 56, 120, 80


def display_window(volume: Volume) -> tuple[float, float]:
    """Choose the intensities that are drawn black and white.

    CT has a unit, so it is drawn in the soft-tissue window (centre 40 HU, width 400 HU). A NIfTI file does not say its
    modality, and is taken for CT if its values look like CT. All other scans are drawn from their 0.5th to their 99.5th
    percentile.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    (low, high) : (float, float)
        In the unit of the volume; high is above low even for a constant scan.
    """
    values = sample(volume.array)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    if is_in_hu(volume):
        return SOFT_TISSUE_HU
    low, high = percentiles(values)
    return low, high if high > low else low + 1.0


def is_in_hu(volume: Volume) -> bool:
    """Whether the values of a scan are HU: it says so, or it does not say its modality and its values look like CT.

    Parameters
    ----------
    volume : Volume
    """
    if volume.modality is None and volume.unit != "HU":
        return is_like_ct(volume.array)
    return volume.unit == "HU" or volume.modality == "CT"


def to_grey(array: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Map intensities of any shape linearly to 0 (black) .. 255 (white); NaN is black.

    Parameters
    ----------
    array : real numbers
    window : (low, high)
        As returned by `display_window`.
    """
    low, high = window
    scaled = np.clip((array.astype(np.float32) - low) / (high - low), 0, 1)
    return np.asarray(np.nan_to_num(scaled) * 255 + 0.5, dtype=np.uint8)


def window_presets(volume: Volume) -> dict[str, tuple[float, float]]:
    """Return windows to choose from, by name; the first is that of `display_window`.

    Parameters
    ----------
    volume : Volume
    """
    first = display_window(volume)
    if first == SOFT_TISSUE_HU:
        return dict(CT_WINDOWS)
    values = sample(volume.array)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else first
    middle = np.percentile(values, (5, 95)) if values.size else first
    presets = {"usual": first, "all values": (low, high), "more contrast": (float(middle[0]), float(middle[1]))}
    return {name: (low, high) for name, (low, high) in presets.items() if low < high}


def grey_levels(volume: Volume) -> Float:
    """(256,) values of a scan that 8 bits hold, increasing; the window that is shown first has most of them.

    Parameters
    ----------
    volume : Volume
    """
    low, high = display_window(volume)
    finite = volume.array[np.isfinite(volume.array)] if volume.array.dtype.kind == "f" else volume.array
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (low, high)
    parts = [
        np.linspace(min(least, low), low, _BELOW, endpoint=False),
        np.linspace(low, high, _WITHIN, endpoint=False),
        np.linspace(high, max(most, high), _ABOVE),
    ]
    # Where nothing lies beyond the window, the steps there are tiny, so that the values still increase.
    return np.asarray(np.concatenate(parts) + np.arange(256) * 1e-9 * (high - low))

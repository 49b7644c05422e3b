"""Data for the scripts of an HTML page."""

from __future__ import annotations

import json
from typing import Any


def script_data(values: dict[str, Any]) -> str:
    r"""Return JSON that cannot end the script element it stands in, whatever its texts are.

    Parameters
    ----------
    values : dict
        JSON values.

    Examples
    --------
    >>> script_data({"name": "</script>"})
    '{"name":"\\u003c/script>"}'
    """
    return json.dumps(values, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")

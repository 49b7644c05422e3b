"""NiiVue, which draws surfaces in a browser, out of the installed package ipyniivue.

ipyniivue is a widget for notebooks. Its bundle holds NiiVue's whole module once more as a percent-encoded string, from
which it saves pages of its own. The module is taken from there; ipyniivue is never imported.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from volseg.errors import RenderError

REQUIREMENT = "ipyniivue>=2.3.2,<3"
_MODULE = re.compile(r'"([^"\\]{500000,}?export%7B[^"\\]*?Niivue[^"\\]*?%7D%3B)"')


class NiiVue(NamedTuple):
    """A script that sets ``globalThis.niivue``, and the text of NiiVue's licence, which has to go with it."""

    script: str
    licence: str


@cache
def find_niivue() -> NiiVue | None:
    """Find NiiVue in the installed ipyniivue; None if that is not installed.

    Raises
    ------
    RenderError
        The installed ipyniivue does not hold NiiVue in the known form, or comes without a licence.
    """
    spec = find_spec("ipyniivue")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0])
    try:
        script = as_script((folder / "static" / "widget.js").read_text(encoding="utf-8"))
        return NiiVue(script, _licence())
    except (OSError, ValueError, PackageNotFoundError) as error:
        raise RenderError(
            f"{folder}: NiiVue is not found in it ({error}); install a known version: pip install '{REQUIREMENT}'"
        ) from error


def as_script(bundle: str) -> str:
    """Turn the module in ipyniivue's bundle into a script that sets ``globalThis.niivue`` to what it exports.

    Parameters
    ----------
    bundle : str
        The text of ``widget.js``.

    Raises
    ------
    ValueError
        There is no such module in it.
    """
    found = _MODULE.search(bundle)
    if found is None:
        raise ValueError("no module that exports Niivue")
    code = unquote(found[1])
    start = code.rindex("export{")
    pairs = []
    for entry in code[start + len("export{") : code.index("}", start)].split(","):
        inside, _, outside = entry.partition(" as ")
        pairs.append(f"{outside or inside}:{inside}")
    # In a function of its own, as its thousands of names would be names of the page.
    return '(()=>{"use strict";' + code[:start] + "globalThis.niivue={" + ",".join(pairs) + "}})();"


def _licence() -> str:
    for file in distribution("ipyniivue").files or ():
        if file.name.upper().startswith("LICENSE"):
            return str(file.read_text())
    raise ValueError("no licence file")

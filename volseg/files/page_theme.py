"""The colours that all pages have in common, as CSS: light, dark, and light again on paper."""

from __future__ import annotations

_LIGHT = (
    "color-scheme: light; --back: #f3f4f6; --card: #ffffff; --text: #1b2026; --faint: #5d6874; --line: #d5dae0; "
    "--accent: #1d6fd8; --note: #fff6e5; --alarm: #fdecea;"
)
_DARK = (
    "color-scheme: dark; --back: #0f1216; --card: #171b21; --text: #e8eaed; --faint: #97a1ad; --line: #2a313a; "
    "--accent: #5aa2ff; --note: #2b2415; --alarm: #331b1b;"
)
# A page's script gives its root the class `dark` where the reader likes dark pages.
THEME_STYLE = (
    f":root {{ {_LIGHT} }}\n:root.dark {{ {_DARK} }}\n@media print {{ :root, :root.dark {{ {_LIGHT} }} }}\n"
    "* { box-sizing: border-box; }\n"
)

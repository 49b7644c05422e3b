"""What a page of slices and surfaces holds."""

from __future__ import annotations

import json
import re
from typing import Any

import volseg


def content_of(page: volseg.Page) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page.text, re.DOTALL)
    content: dict[str, Any] = json.loads(found)
    return content

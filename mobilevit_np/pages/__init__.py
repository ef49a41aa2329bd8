"""Pages that stand alone: one file with its styles, scripts and data, and no way out.

``assemble`` fills page.html and a body, which lie beside this file. The page's own policy (CSP) lets run the scripts
that are ours, by their checksums, and nothing else, and forbids it to fetch anything: should a hostile name ever come
through unescaped, it would still do nothing. Names out of files go through ``plain_name``, and whatever goes into HTML
through ``text``.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import visible
from ..formats import files

STEPS = 254  # of a picture's bytes, evenly from the lowest to the highest value
NOT_FINITE = 255
LONGEST_NAME = 200  # characters that a page shows of it
_HOLE = re.compile(r"\{\{(\w+)\}\}")
_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def assemble(body: str, *, styles: Sequence[str], scripts: Sequence[str], parts: Mapping[str, str]) -> str:
    """A page: page.html with the file ``body`` in it, and the holes of both filled.

    They are ``{{style}}``, ``{{script}}``, ``{{policy}}`` and what ``parts`` names, ``title`` and ``data`` among it.
    ``parts`` are HTML: what isn't ours must have gone through ``text`` or ``script_json``. They're filled in once: a
    hole that stands inside one stays as it is.
    """
    style, script = "".join(map(_own, styles)), "".join(map(_own, scripts))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_checksum(style)}; script-src {_checksum(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    filled = {**parts, "style": style, "script": script, "policy": policy}
    return _HOLE.sub(lambda hole: filled[hole[1]], _own("page.html").replace("{{body}}", _own(body), 1))


def write_page(path: str | Path, page: str) -> Path:
    """Write the page, whole or not at all. Raises OutputError."""
    return files.write_file(path, page.encode("utf-8"))


def text(value: object) -> str:
    """``value`` as HTML text or an attribute's value."""
    return html.escape(str(value), quote=True)


def plain_name(name: object, most: int = LONGEST_NAME) -> str:
    """A name out of a file: cut short, and with control characters, writing directions and the like made visible."""
    whole = str(name)
    return visible(whole, most) + ("…" if len(whole) > most else "")


def script_json(value: Any) -> str:
    """``value`` as JSON that can stand in a ``<script type="application/json">``, whatever its texts are."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_IN_SCRIPT)


def number(value: float, digits: int = 4) -> str:
    """A number as the page shows it; NaN and infinity by name."""
    return f"{float(value):.{digits}g}"


def coded(values: np.ndarray, low: float, high: float) -> str:
    """One byte for each value, as the page draws them, in base64."""
    with np.errstate(all="ignore"):
        share = (np.clip(values, low, high) - low) / (high - low) if high > low else np.full(values.shape, 0.5)
        codes = np.where(np.isfinite(values), np.rint(share * STEPS), NOT_FINITE)
    return base64.b64encode(codes.astype(np.uint8).tobytes()).decode("ascii")


def _own(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _checksum(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode('utf-8')).digest()).decode('ascii')}'"

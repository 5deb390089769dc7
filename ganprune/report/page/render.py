"""From what a page shows to its HTML: one file that loads nothing, and that no name in it can make do anything.

jinja2 escapes every text. Styles and scripts are inlined, and a Content-Security-Policy names them by their digests:
nothing else runs, and nothing is fetched. Charts are SVG, drawn by the template: a plotting library would weigh more
than all the rest of the page.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ganprune.report.page.contents import Contents

FOLDER = Path(__file__).parent
MARK = '<meta name="generator" content="ganprune report'  # by which a file is known to be one of these pages
POLICY = (
    "default-src 'none'; img-src data: blob:; style-src '{style}'; script-src '{script}'; worker-src blob:; "
    "base-uri 'none'; form-action 'none'"
)


def render(contents: Contents) -> str:
    """Return the HTML of a page."""
    style, script, worker = (_read(name) for name in ("page.css", "page.js", "interpreter.js"))
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    policy = POLICY.format(style=_digest(style), script=_digest(script))
    return environment.get_template("page.html").render(
        page=contents, mark=Markup(MARK), policy=policy, style=Markup(style), script=Markup(script),
        worker=Markup(worker),
    )  # fmt: skip


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

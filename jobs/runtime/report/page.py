"""Puts the report's data, styles and scripts into one HTML file that loads nothing and runs no other script.

Data is a JSON block that the scripts read and put on the page as text; a policy in the head allows these scripts by
their hashes and nothing else, so that markup inside a document stays text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import fsspec

from jobs.runtime.errors import SettingsFault
from jobs.runtime.exporting import refused
from jobs.runtime.health import no_client

FOLDER = resources.files("jobs.runtime.report")
STYLES = ("page.css",)
FILE, KIND = "report.html", "report"  # in the root; and the folder of the copy that is logged to MLflow
SCRIPTS = ("vendor/echarts.min.js", "dom.js", "charts.js", "sections.js", "graph.js", "browser.js", "main.js")


def page(data: Mapping[str, Any]) -> str:
    """The HTML file as text."""
    scripts = [_read(name) for name in SCRIPTS]
    allowed = " ".join(f"'sha256-{_hash(script)}'" for script in scripts)
    policy = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"
    parts = {
        "policy": policy,
        "title": _escaped(f"longloom report: {data['root']}"),
        "style": "\n".join(_read(name) for name in STYLES),
        "data": embedded(data),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    return "".join(_filled(_read("page.html"), parts))


def write(text: str, out: str) -> None:
    """Write the file to any storage. Raises StorageFault where there is no room for it, else SettingsFault."""
    if missing := no_client(out):
        raise SettingsFault([f"--out {out}: {missing}"])
    try:
        files, path = fsspec.core.url_to_fs(out)
        files.makedirs(files._parent(path), exist_ok=True)
        with files.open(path, "wb") as stream:
            stream.write(text.encode("utf-8"))
    except OSError as error:
        raise refused(error, out) from error


def drop_reports(state: str) -> None:
    """Remove the reports that lie in a root: the file, and the copies logged to the root's own MLflow.

    Those written elsewhere, or logged to another MLflow, are not known here.
    """
    files, folder = fsspec.core.url_to_fs(state)
    for path in (f"{folder}/{FILE}", *files.glob(f"{folder}/_mlflow/artifacts/*/artifacts/{KIND}")):
        if files.exists(path):
            files.rm(path, recursive=True)


def embedded(data: Mapping[str, Any]) -> str:
    """JSON that cannot end its script element, whatever its texts hold."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.encode("utf-8", errors="replace").decode("utf-8")  # lone surrogates are no text
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _filled(template: str, parts: Mapping[str, str]) -> Sequence[str]:
    """The template's text and, in place of each `{{name}}`, the part; parts are not looked into."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return filled


def _read(name: str) -> str:
    return FOLDER.joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

"""Makes the folder of an embedded model: the package's own, or a copy where our code is imported from a zip.

It refuses to load what is in it; torch is never imported here, so a plan can ask.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path


@cache
def embedded_folder(role: str) -> Path | None:
    """The folder of the embedded `short` or `long` model; None where it was not shipped."""
    packed = resources.files("udfs.models.influence").joinpath("embedded", role)
    if not packed.is_dir():
        return None
    if isinstance(packed, Path):
        return packed
    return _unpacked(role, {file.name: file.read_bytes() for file in packed.iterdir()})


def _unpacked(role: str, files: dict[str, bytes]) -> Path:
    """These files in a temporary folder named by their content, which other processes of the machine use too."""
    digest = hashlib.sha256(b"".join(name.encode() + content for name, content in sorted(files.items()))).hexdigest()
    place = Path(tempfile.gettempdir(), f"longloom-{role}-{digest[:16]}")
    if _holds(place, files):
        return place
    made = Path(tempfile.mkdtemp(prefix=f"longloom-{role}-"))
    for name, content in files.items():
        (made / name).write_bytes(content)
    try:
        return made.rename(place)
    except OSError:  # another process was first, or the place holds something else
        if not _holds(place, files):
            return made
        shutil.rmtree(made, ignore_errors=True)
        return place


def _holds(place: Path, files: dict[str, bytes]) -> bool:
    """Whether a folder holds exactly these files: anyone may write to where it lies."""
    if not place.is_dir() or {path.name for path in place.iterdir()} != files.keys():
        return False
    return all((place / name).read_bytes() == content for name, content in files.items())

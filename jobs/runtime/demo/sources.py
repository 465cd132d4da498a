"""Twelve kinds of text that ship inside installed packages, read where they lie.

Every generator is lazy and follows a seeded order, so that a demo reads a few megabytes, not the whole environment.
"""

from __future__ import annotations

import ast
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from jobs.runtime.demo.environment import (
    PYTHON,
    SITE,
    STDLIB,
    Source,
    owner,
    packages,
    page,
    python_files,
    read,
    shipped,
    shuffled,
    source,
)
from jobs.runtime.demo.services import service_guide, worked_examples
from jobs.runtime.demo.texts import from_html, from_markdown

CHANGES = re.compile(
    r"^(#+ *|=+\n)?(change ?log|changes|release (notes|history)|history|news|what'?s new)\b.{0,30}$", re.I | re.M
)

ROLE = re.compile(r":[a-z:]+:(?=`)|(?<=\w) <[^`<>\s]+>(?=`)")  # Sphinx: :func:`name <place>` is `name`
HEADER = re.compile(r"\A(?:#[^\n]*\n)+\s*")
NETWORK = (
    "aiohttp",
    "anyio",
    "botocore",
    "fastapi",
    "fsspec",
    "git",
    "h11",
    "h2",
    "httpcore",
    "httpx",
    "huggingface_hub",
    "openai",
    "requests",
    "starlette",
    "urllib3",
    "uvicorn",
)
EXPLAINING = {"Explanation", "Notes", "References", "Description", "Background", "Definition"}
EXPLAINS = re.compile(rf"^ *(?:{'|'.join(sorted(EXPLAINING))}) *\n *[=\-~]{{3,}}", re.M)
Kind = Callable[[Random], Iterator[Source]]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def descriptions() -> Iterator[tuple[str, str, str]]:
    """(package, introduction, change log) out of each package's long description."""
    for name in packages():
        text = from_markdown(str(page(name).get_payload()))
        found = CHANGES.search(text)
        start = found.start() if found else len(text)
        yield name, text[:start], text[start:]


def readme(rng: Random) -> Iterator[Source]:
    """What a package says of itself on its index page, and the read-me files inside it."""
    pages = [source(name, "METADATA", text) for name, text, _ in descriptions()]
    files = [path for path in shipped(".md") if path.stem.upper().startswith("README")]
    pages += [source(owner(path), str(path.relative_to(SITE)), from_markdown(read(path))) for path in files]
    yield from shuffled(rng, pages)


def changelog(rng: Random) -> Iterator[Source]:
    """Release notes: the tail of index pages, and news files."""
    pages = [source(name, "METADATA", text) for name, _, text in descriptions()]
    for name in ("NEWS.txt", "News3.txt", "NEWS2x.txt", "News.txt", "HISTORY.txt"):
        path = STDLIB / "idlelib" / name
        if path.is_file():
            pages.append(source(PYTHON, f"idlelib/{name}", read(path)))
    named = re.compile(r"(change|history|news|release)", re.I)
    for suffix in (".md", ".rst", ".txt"):
        files = [path for path in shipped(suffix) if named.match(path.stem)]
        pages += [source(owner(path), str(path.relative_to(SITE)), from_markdown(read(path))) for path in files]
    yield from shuffled(rng, pages)


def licence(rng: Random) -> Iterator[Source]:
    """Licences, notices and collections of third parties' licences."""
    named = re.compile(r"(licen[cs]e|copying|notice|.*third.?party)", re.I)
    folders = [*sorted(SITE.glob("*.dist-info")), SITE / "pyspark" / "licenses", *sorted(SITE.glob("nvidia/*/"))]
    found = [
        (owner(folder), path)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if named.match(path.name) and path.is_file()
    ]
    for name, path in shuffled(rng, found):
        text = read(path)
        yield source(name, path.name, from_html(text) if path.suffix == ".html" else text)


def how_to_guide(rng: Random) -> Iterator[Source]:
    """Guides for people who use a tool."""
    other = re.compile(r"(readme|licen|change|history|news|copying|notice)", re.I)
    for path in shuffled(rng, [path for path in shipped(".md") if not other.match(path.stem)]):
        yield source(owner(path), str(path.relative_to(SITE)), from_markdown(read(path)))


def language_manual(rng: Random) -> Iterator[Source]:
    """The Python language reference, as `help()` shows it, topic by topic."""
    from pydoc_data.topics import topics

    text = "\n\n".join(f"Topic: {name}\n\n{topics[name]}" for name in shuffled(rng, sorted(topics)))
    yield source(PYTHON, "pydoc_data/topics", text)
    for place in ("idlelib/help.html", "email/architecture.rst"):
        path = STDLIB / place
        if path.is_file():
            yield source(PYTHON, place, from_html(read(path)) if path.suffix == ".html" else read(path))


def modules(rng: Random, tops: Sequence[str], least: int, tests: bool = False) -> Iterator[tuple[str, str, str]]:
    """(package, place, code) of Python files of these top-level folders with at least so many bytes: test code, or
    the rest."""
    files = [path for top in tops for path in python_files(top) if tests == bool({"tests", "test"} & set(path.parts))]
    for path in shuffled(rng, files):
        if least < path.stat().st_size < 150_000:
            yield owner(path), str(path.relative_to(SITE)), without_header(read(path))


def without_header(code: str) -> str:
    """Code without the licence that opens it: the package's licence is noted elsewhere."""
    found = HEADER.match(code)
    return code[found.end() :] if found and "licen" in found.group().lower() else code


def source_code(rng: Random) -> Iterator[Source]:
    """Modules of network libraries as they are written."""
    for package, place, code in modules(rng, NETWORK, least=12_000):
        yield source(package, place, code)


def test_code(rng: Random) -> Iterator[Source]:
    """Test modules of table and compiler libraries."""
    for package, place, code in modules(rng, ("pandas", "pyarrow", "numba"), least=12_000, tests=True):
        yield source(package, place, code)


def api_reference(rng: Random) -> Iterator[Source]:
    """The documented functions and classes of one module of a database or table library, with their signatures."""
    for package, place, code in modules(rng, ("sqlalchemy", "pyspark", "alembic"), least=20_000):
        entries = [f"{signature}\n\n{text}" for signature, text in docstrings(code)]
        if entries:
            module = place.removesuffix(".py").replace("/", ".")
            yield source(package, place, f"Module {module}\n\n" + "\n\n".join(entries))


def mathematics_notes(rng: Random) -> Iterator[Source]:
    """What mathematical libraries explain about their subject: notes, explanations, references."""
    for package, place, code in modules(rng, ("sympy", "networkx", "scipy"), least=15_000):
        if not EXPLAINS.search(code):  # parsing is what takes time
            continue
        notes = [explanation(signature, text) for signature, text in docstrings(code)]
        told = "\n\n".join(note for note in notes if note)
        if told:
            yield source(package, place, told)


def docstrings(code: str) -> Iterator[tuple[str, str]]:
    """(signature, docstring) of the module and of its public functions, classes and methods; code is parsed only."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return
    overview = ast.get_docstring(tree)
    if overview:
        yield "Overview", overview
    for node in public_definitions(tree.body):
        text = ast.get_docstring(node)
        if text and len(text) > 120:
            yield signature_of(node), ROLE.sub("", text)


def public_definitions(body: Sequence[ast.stmt]) -> Iterator[Definition]:
    """Functions and classes without a leading underscore, and the methods of those classes."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


def signature_of(node: Definition) -> str:
    """`class Name` or `name(a, b=1)`."""
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    return f"{node.name}({ast.unparse(node.args)})"


def explanation(signature: str, text: str) -> str:
    """The summary and the explaining sections of a docstring under its name; empty when there are none."""
    sections = re.split(r"\n([A-Z][A-Za-z ]+)\n[=\-~]{3,}\n", "\n" + text)
    pairs = zip(sections[1::2], sections[2::2], strict=False)
    kept = [f"{name}: {body.strip()}" for name, body in pairs if name.strip() in EXPLAINING and len(body) > 150]
    return "\n\n".join([f"{signature.split('(')[0]}: {sections[0].strip()}", *kept]) if kept else ""


def error_catalogue(rng: Random) -> Iterator[Source]:
    """Error conditions with their messages, of Spark and of a compiler."""
    told = []
    for jar in sorted((SITE / "pyspark" / "jars").glob("spark-common-utils_*.jar")):
        with zipfile.ZipFile(jar) as archive:
            conditions = json.loads(archive.read("error/error-conditions.json"))
        told += [("pyspark", error_entry(name, condition)) for name, condition in conditions.items()]
    registry = SITE / "torch" / "_dynamo" / "graph_break_registry.json"
    if registry.is_file():
        for code, entries in json.loads(read(registry)).items():
            told += [("torch", graph_break(code, entry)) for entry in entries]
    for package in ("pyspark", "torch"):
        entries = shuffled(rng, [text for name, text in told if name == package])
        yield source(package, "error conditions", "\n\n".join(entries))


def error_entry(name: str, condition: dict[str, Any]) -> str:
    """One error condition with its cases."""
    lines = [f"Error {name} (SQLSTATE {condition.get('sqlState', 'none')})", " ".join(condition["message"])]
    for case, detail in condition.get("subClass", {}).items():
        lines.append(f"- {case}: {' '.join(detail['message'])}")
    return "\n".join(line for line in lines if line)


def graph_break(code: str, entry: dict[str, Any]) -> str:
    """One reason why a compiler gives up, with its hints."""
    lines = [f"Error {code}: {entry['Gb_type']}", f"Cause: {entry['Explanation']}"]
    return "\n".join(lines + [f"- Hint: {hint}" for hint in entry["Hints"]])


KINDS: dict[str, Kind] = {
    each.__name__: each
    for each in (
        api_reference,
        changelog,
        error_catalogue,
        how_to_guide,
        language_manual,
        licence,
        mathematics_notes,
        readme,
        service_guide,
        source_code,
        test_code,
        worked_examples,
    )
}
CODE = frozenset({"source_code", "test_code"})  # kept whole: no paragraph is dropped for having been seen

"""Who may import whom, and what may not stand anywhere: read from the source, shown on small made-up trees first."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
OURS = frozenset({"jobs", "udfs", "graphs", "sql"})
LONGEST = 400  # lines of a Python file


@dataclass(frozen=True)
class Room:
    """A folder, the modules of ours it may import, and the packages of others."""

    folder: str
    ours: frozenset[str]
    others: frozenset[str]


def words(text: str) -> frozenset[str]:
    """A set, written as words."""
    return frozenset(text.split())


SETTINGS = words("graphs.settings udfs.settings sql.settings")
ON_EXECUTORS = words(
    "pandas pyarrow pydantic numpy pyspark fsspec orjson msgspec zstandard rapidfuzz py3langid tokenizers fastokens "
    "kitoken tiktoken huggingface_hub jinja2 json_repair"
)
HTTP = words("openai aiohttp httpx requests urllib3 urllib.request http.client http.server")
MODELS = words("torch sklearn skops transformers safetensors threadpoolctl scipy")
# The first room whose folder holds a file is the file's room.
ROOMS = (
    Room("graphs", words("graphs"), words("pyspark numpy numba scipy pandas pyarrow pydantic graphframes")),
    Room("sql", words("sql"), words("pyspark")),
    Room("udfs/llm", words("udfs"), ON_EXECUTORS | HTTP),
    Room("udfs/models", words("udfs"), ON_EXECUTORS | MODELS),
    Room("udfs", words("udfs"), ON_EXECUTORS),
    Room(
        "jobs/stages",
        words("jobs.stages jobs.runtime.stage jobs.runtime.settings graphs sql udfs"),
        words("pyspark numpy"),
    ),
    Room(
        "jobs/runtime",
        # Calls are sent, inputs listed, models looked for, failures told apart, frames settled: it drives these. What
        # a conversation said, in the form it is stored in, decides what is forgotten with it.
        words(
            "jobs.runtime sql udfs.llm udfs.readers udfs.tokens udfs.alike udfs.models.errors udfs.models.files "
            "udfs.models.influence.support graphs.checkpoints graphs.values"
        ),
        words("pyspark py4j delta mlflow pydantic yaml fsspec pandas pyarrow zstandard huggingface_hub"),
    ),
    Room("jobs", words("jobs.runtime jobs.stages"), words("pyspark")),
)
# Stages of further paradigms: all finished samples stand in one table, `samples`.
WRITE_SAMPLES = words("imported_samples")
# Tables that the runner writes itself: they have columns and no stage.
KEPT_BY_RUNNER = words("source_files sources llm_calls deferrals stage_runs tombstones")
UNSAFE_LOADERS = words("pickle cloudpickle dill joblib marshal shelve")
# Spelled so that this file does not find itself.
MACHINE_PATHS = re.compile(r"(?:^|[\s\"'=(:,])/(?:work|root|home|Users|farm|opt/wheels)/[\w.]", re.MULTILINE)
REGISTRIES = re.compile(
    r"(?:files\.pythonhosted|//(?:\w+\.)?pypi)\.org|repo1?\.[m]aven|[m]aven\.org/|//[^\s\"']+/[s]imple\b|registry\.npmjs"
)


# --- what is looked at -------------------------------------------------------------------------------------------


def python_files(root: Path, *folders: str) -> list[Path]:
    """Python files below these folders of a tree."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports anywhere in it; `from a import b` counts as `a.b`, which may be a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(module: str, allowed: frozenset[str]) -> bool:
    """Whether a module is one of these or lies in one of them."""
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def room_of(root: Path, path: Path) -> Room:
    """The room a file lies in."""
    place = path.relative_to(root).as_posix()
    return next(room for room in ROOMS if place.startswith(f"{room.folder}/"))


def import_faults(root: Path) -> list[str]:
    """Imports that a room may not make."""
    faults = []
    for path in python_files(root, *OURS):
        room = room_of(root, path)
        for module in imports(path):
            top = module.partition(".")[0]
            if top in OURS:
                allowed = within(module, room.ours | SETTINGS)
            elif top in sys.stdlib_module_names:
                allowed = not within(module, HTTP - room.others)
            else:
                allowed = within(module, room.others)
            if not allowed:
                faults.append(f"{path.relative_to(root).as_posix()} ({room.folder}) imports {module}")
    return faults


def graph_library_faults(root: Path) -> list[str]:
    """GraphFrames behind one file."""
    users = [path for path in python_files(root, *OURS) if any(within(m, words("graphframes")) for m in imports(path))]
    return [f"{path.relative_to(root).as_posix()} imports graphframes too" for path in users[1:]]


def name_faults(root: Path, taken: frozenset[str]) -> list[str]:
    """Jobs named like another module (spark-submit puts `jobs/` first on the path), and jobs imported as top level."""
    faults = []
    entries = [path for path in (root / "jobs").iterdir() if not path.name.startswith(("_", "."))]
    names = frozenset(path.stem for path in entries if path.is_dir() or path.suffix == ".py")
    faults += [f"jobs/{name} hides the module {name}" for name in sorted(names & taken)]
    for path in python_files(root, *OURS, "tests"):
        top_level = sorted(module for module in imports(path) if within(module, names - taken))
        faults += [f"{path.relative_to(root).as_posix()} imports {module} without `jobs.`" for module in top_level]
    return faults


def thread_faults(root: Path) -> list[str]:
    """A stage without its table's columns, and columns without a stage."""
    stages = {path.stem for path in (root / "jobs" / "stages").glob("*.py")} - {"__init__"} - WRITE_SAMPLES
    tables = {path.parent.name for path in (root / "sql").glob("*/columns.sql")}
    faults = [f"jobs/stages/{name}.py has no sql/{name}/columns.sql" for name in sorted(stages - tables)]
    return faults + [
        f"sql/{name}/ has columns but no jobs/stages/{name}.py" for name in sorted(tables - stages - KEPT_BY_RUNNER)
    ]


def package_faults(root: Path) -> list[str]:
    """In importlib mode `tests/jobs/__init__.py` would shadow `jobs`."""
    found = sorted((root / "tests").rglob("__init__.py"))
    return [f"{path.relative_to(root).as_posix()} makes a test folder a package" for path in found]


def length_faults(root: Path, files: list[Path]) -> list[str]:
    """Files that want to be two."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files if path.suffix == ".py"}
    return [f"{path.relative_to(root).as_posix()} has {n} lines" for path, n in lengths.items() if n > LONGEST]


def place_faults(root: Path, files: list[Path]) -> list[str]:
    """Paths of one machine, and addresses of package registries."""
    faults = []
    for path in files:
        text = path.read_bytes().decode("utf-8", errors="ignore")
        for pattern in (MACHINE_PATHS, REGISTRIES):
            faults += [f"{path.relative_to(root).as_posix()}: {m.group().strip()}" for m in pattern.finditer(text)]
    return faults


def loading_faults(root: Path) -> list[str]:
    """Data turned into code: unpickling, and code that comes with a model."""
    faults = []
    for path in python_files(root, *OURS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (reason := unsafe(node)):
                faults.append(f"{path.relative_to(root).as_posix()}:{node.lineno} {reason}")
    return faults


def unsafe(call: ast.Call) -> str | None:
    """Why a call is unsafe; None when it is not."""
    for keyword in call.keywords:
        off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        if keyword.arg == "trust_remote_code" and not off:
            return "trusts remote code"
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        module, name = call.func.value.id, call.func.attr
        if module in UNSAFE_LOADERS and name in {"load", "loads", "open", "Unpickler"}:
            return f"calls {module}.{name}"
        weights = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in call.keywords)
        if module == "torch" and name == "load" and not weights:
            return "calls torch.load without weights_only=True"
    return None


def tracked(root: Path) -> list[Path]:
    """Text files that git tracks or would track; without git, everything outside of what make made."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        paths = [root / name for name in listed.stdout.split("\0") if name]
    else:
        made = {".venv", ".jars", "build", "dist", ".git", "__pycache__"}
        paths = [path for path in root.rglob("*") if not made & set(path.relative_to(root).parts)]
    return sorted(path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:1_000])


# --- this tree ---------------------------------------------------------------------------------------------------


def test_rooms_import_only_what_they_may() -> None:
    assert import_faults(CHECKOUT) == []


def test_graphframes_stands_behind_one_file() -> None:
    assert graph_library_faults(CHECKOUT) == []


def test_jobs_hide_no_module_and_are_imported_by_their_full_name() -> None:
    taken = frozenset(sys.stdlib_module_names) | (frozenset(packages_distributions()) - OURS)
    assert name_faults(CHECKOUT, taken) == []


def test_names_line_up() -> None:
    assert thread_faults(CHECKOUT) == []


def test_tests_are_no_packages() -> None:
    assert package_faults(CHECKOUT) == []


def test_files_are_short() -> None:
    assert length_faults(CHECKOUT, tracked(CHECKOUT)) == []


def test_nothing_names_a_machine_or_a_registry() -> None:
    assert place_faults(CHECKOUT, tracked(CHECKOUT)) == []


def test_no_data_is_turned_into_code() -> None:
    assert loading_faults(CHECKOUT) == []


def test_planning_imports_no_model_library() -> None:
    """Every module outside udfs/models is imported where torch, transformers and scikit-learn cannot be."""
    modules = [
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")
        for path in python_files(CHECKOUT, *OURS)
        if "models" not in path.parts
    ]
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in ("torch", "transformers", "sklearn"))
    code = f"import sys, importlib; {blocked}; [importlib.import_module(name) for name in {modules!r}]"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=False)
    assert run.returncode == 0, run.stderr[-2_000:]


# --- made-up trees: each checker sees what it is for ------------------------------------------------------------------


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write a small tree."""
    for folder in ("jobs/stages", "jobs/runtime", "udfs", "graphs", "sql", "tests"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("place", "line", "wrong"),
    [
        ("graphs/walks.py", "from jobs.runtime import tables", True),
        ("graphs/walks.py", "from udfs import tokens", True),
        ("graphs/walks.py", "from udfs.settings import TypeSettings", False),
        ("graphs/walks.py", "def f():\n    import torch", True),
        ("graphs/statistics.py", "from graphframes import GraphFrame", False),
        ("udfs/text.py", "import graphs.walks", True),
        ("udfs/text.py", "import httpx", True),
        ("udfs/text.py", "from urllib.request import urlopen", True),
        ("udfs/text.py", "from urllib.parse import urlsplit", False),
        ("udfs/llm/openai_teacher.py", "import httpx", False),
        ("udfs/llm/openai_teacher.py", "import torch", True),
        ("udfs/models/forest.py", "from sklearn.ensemble import RandomForestClassifier", False),
        ("udfs/models/forest.py", "import openai", True),
        ("sql/__init__.py", "from jobs.runtime import settings", True),
        ("jobs/stages/walks.py", "from graphs.walks import sample_walks", False),
        ("jobs/stages/walks.py", "from jobs.runtime.stage import stage", False),
        ("jobs/stages/walks.py", "from jobs.runtime import tables", True),
        ("jobs/runtime/runner.py", "from jobs.stages import walks", True),
        ("jobs/runtime/runner.py", "from graphs import walks", True),
        ("jobs/runtime/runner.py", "import mlflow", False),
        ("jobs/synthesize.py", "from udfs import tokens", True),
        ("jobs/synthesize.py", "from jobs.runtime.runner import run", False),
        ("jobs/synthesize.py", "from . import runtime", True),
    ],
)
def test_import_checker(tmp_path: Path, place: str, line: str, wrong: bool) -> None:
    assert bool(import_faults(tree(tmp_path, {place: line}))) is wrong


def test_graph_library_checker(tmp_path: Path) -> None:
    one = {"graphs/a.py": "import graphframes"}
    assert graph_library_faults(tree(tmp_path, one)) == []
    assert len(graph_library_faults(tree(tmp_path, {"graphs/b.py": "from graphframes import GraphFrame"}))) == 1


def test_name_checker(tmp_path: Path) -> None:
    root = tree(tmp_path, {"jobs/select.py": "", "jobs/runtime/a.py": "import stages.walks\nimport runtime"})
    faults = name_faults(root, frozenset(sys.stdlib_module_names))
    assert any("jobs/select hides" in fault for fault in faults)
    assert sum("without `jobs.`" in fault for fault in faults) == 2
    assert name_faults(tree(tmp_path / "good", {"jobs/plan.py": "import jobs.stages"}), frozenset({"select"})) == []


def test_thread_checker(tmp_path: Path) -> None:
    good = {
        "jobs/stages/walks.py": "",
        "sql/walks/columns.sql": "",
        "sql/sources/columns.sql": "",
        "sql/q/query.sql": "",
    }
    assert thread_faults(tree(tmp_path, good)) == []
    assert len(thread_faults(tree(tmp_path, {"jobs/stages/nodes.py": "", "sql/edges/columns.sql": ""}))) == 2


def test_folder_and_length_checkers(tmp_path: Path) -> None:
    root = tree(tmp_path, {"tests/jobs/__init__.py": "", "udfs/a.py": "x = 1\n" * 401, "udfs/b.py": "x = 1\n" * 400})
    assert len(package_faults(root)) == 1
    assert length_faults(root, tracked(root)) == ["udfs/a.py has 401 lines"]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("pickle.loads(data)", True),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=True)", False),
        ("joblib.load(path)", True),
        ("AutoModel.from_pretrained(name, trust_remote_code=True)", True),
        ("AutoModel.from_pretrained(name, trust_remote_code=settings.trust)", True),
        ("AutoModel.from_pretrained(name, trust_remote_code=False)", False),
        ("json.loads(text)", False),
    ],
)
def test_loading_checker(tmp_path: Path, line: str, wrong: bool) -> None:
    assert bool(loading_faults(tree(tmp_path, {"udfs/a.py": line}))) is wrong


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("path = '/ro" + "ot/.venv/bin'", True),
        ("see /ho" + "me/someone/x", True),
        ("--index-url https://mirror.example/" + "simple", True),
        ("https://repo1." + "mav" + "en.org/maven2", True),
        ("https://files.python" + "hosted.org/packages", True),
        ("build/demo and <root>/_checkpoints", False),
        ("s3://bucket/ro" + "ot/tables", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_place_checker(tmp_path: Path, line: str, wrong: bool) -> None:
    root = tree(tmp_path, {"infra/x.md": line})
    assert bool(place_faults(root, tracked(root))) is wrong

"""Keys that were written into the settings: they are refused before anything is stored, and never repeated.

Settings only name the environment variable that holds a key; they go into tables and MLflow as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote_plus, urlsplit

if TYPE_CHECKING:
    from jobs.runtime.settings import InputSettings, LineageSettings, StorageSettings
    from udfs.settings import LlmSettings

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")  # as environments have it; keys are longer on other letters
# The last part of a name tells: `x-goog-api-key`, `SubscriptionKey`, `X-Amz-Signature`, `sharedaccesskey`; some tell
# only by themselves.
HOLDS_KEY = re.compile(
    r"(?i)(.*[-_.])?(key|token|secret|sig|signature|credentials?|authorization)|"
    r".*(api|access|auth|account|client|secret|subscription|id)(key|token|secret)|.*(passw(or)?d|pwd)|auth|code"
)
# Names of that kind under which services take no secret; an `ssl_key` is a file.
HARMLESS = frozenset(
    {"prompt_cache_key", "cache_key", "bos_token", "eos_token", "pad_token", "stop_token", "ssl_key"}
)  # fmt: skip
PARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")  # of camelCase
USER = re.compile(r"(?<=://)[^\s'\"]*@")
QUERY = re.compile(r"([?&][\w.-]+=)[^&\s'\"]*")
IN_QUERY = re.compile(r"([\w.-]+)=")  # nested ones too, such as those of `odbc_connect=…PWD%3D…`
# Of a database: the driver takes all up to the last @ as a password, slashes as well.
DATABASE = re.compile(r"(?!https?:)[\w+.-]+://[^:/?#]*:[^@]+@")
DEEPEST = 6  # levels that are shown of a refused value: YAML can refer to itself
CALLS = "keys are read from the environment variable that llm.api_key_env names, and go into llm.key_header"
FILES = "leave it out; a store's client reads its keys from its own environment variables or configuration file"
STORES = {
    "tracking_uri": (
        "leave it out; MLflow reads MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN) "
        "from the environment, and the driver of a database its own, such as PGPASSWORD"
    ),
    "artifact_location": "leave it out; the store's client reads its keys from its own environment variables",
}


def may_be_key(variable: str) -> bool:
    """Whether what stands for the name of an environment variable looks like none."""
    return bool(variable) and not VARIABLE.fullmatch(variable)


def named(variable: str) -> str:
    """The name of an environment variable, or that it looks like none: then it may be a key."""
    return variable if not may_be_key(variable) else "named there (not shown: it does not look like a name)"


def holds_key(name: str) -> bool:
    """Whether what stands under this name is a secret, as far as the name tells."""
    return name.lower() not in HARMLESS and bool(HOLDS_KEY.fullmatch(PARTS.sub("_", name)))


def shown(value: Any, where: str = "") -> str:
    """A value that was refused, for the sentence that refuses it: without what may be a secret."""
    if any(_hides(name, value) for name in where.split(".")):
        return "a value that is not shown"
    return QUERY.sub(r"\1…", USER.sub("…@", repr(_without_keys(value))))


def stored_keys(llm: LlmSettings) -> Iterator[str]:
    """Where the settings of an endpoint hold what would be stored with them."""
    parts = _split(llm.base_url)
    if parts.username or parts.password:
        yield f"llm.base_url: has a user or a password before its host; {CALLS}"
    if parts.query:
        yield f"llm.base_url: has a query behind a question mark, which belongs in llm.query; {CALLS}"
    for section in ("query", "extra_body"):
        for path, name, value in _leaves(getattr(llm, section), f"llm.{section}"):
            if isinstance(value, str) and holds_key(name):  # a number is none: of tokens, or a choice
                yield f"{path}: would be stored with the settings; {CALLS}"


def stored_credentials(lineage: LineageSettings) -> Iterator[str]:
    """Where the settings of MLflow hold what would be stored with them."""
    for key, mend in STORES.items():
        address = getattr(lineage, key) or ""
        if _holds_credentials(address) or DATABASE.match(address):
            yield f"lineage.{key}: holds a password or a key, which would be stored with the settings; {mend}"


def with_credentials(inputs: InputSettings, storage: StorageSettings) -> Iterator[str]:
    """Where an address of inputs or of the root holds what would be stored in tables and told in every log."""
    lists = {f"inputs.{kind}": addresses for kind, addresses in inputs}
    places = {f"storage.{key}": [address] for key, address in storage if address}
    for key, addresses in {**lists, **places}.items():
        links = (link for address in addresses for link in address.split("::") if "://" in link)  # of fsspec's chains
        if any(map(_holds_credentials, links)):
            yield f"{key}: holds a password or a key, which would be stored with every record; {FILES}"


def _holds_credentials(address: str) -> bool:
    parts = _split(address)
    by_name = any(map(holds_key, IN_QUERY.findall(unquote_plus(parts.query))))
    # A token may stand alone before a web server; before the host of abfss:// it is a container.
    alone = parts.username and parts.scheme in ("http", "https")
    return bool(parts.password or alone or by_name)


def _leaves(value: Any, path: str, name: str = "") -> Iterator[tuple[str, str, Any]]:
    """(path, name, value) of all that is no object or list: the nearest name, or one above it that tells a key."""
    if isinstance(value, dict):
        for key, held in sorted(value.items()):
            yield from _leaves(held, f"{path}.{key}", name if holds_key(name) else key)
    elif isinstance(value, list):
        for held in value:
            yield from _leaves(held, path, name)
    else:
        yield path, name, value


def _hides(name: str, value: Any) -> bool:
    return holds_key(name) or (name == "api_key_env" and may_be_key(str(value)))


def _without_keys(value: Any, depth: int = 0) -> Any:
    if depth > DEEPEST and isinstance(value, dict | list | tuple):
        return "…"
    if isinstance(value, dict):
        return {key: "…" if _hides(str(key), held) else _without_keys(held, depth + 1) for key, held in value.items()}
    return [_without_keys(held, depth + 1) for held in value] if isinstance(value, list | tuple) else value


def _split(address: str) -> SplitResult:
    """The parts of an address; one with a broken host is taken apart as far as it goes."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit(address.replace("[", "").replace("]", ""))

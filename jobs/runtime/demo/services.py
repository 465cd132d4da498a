"""Two kinds of text about cloud services, out of the descriptions that botocore ships: guides and worked examples."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from jobs.runtime.demo.environment import SITE, Source, read, shuffled, source
from jobs.runtime.demo.texts import from_html

RICH_EXAMPLES = 4_000  # bytes of a file of examples that is worth reading


def newest(name: str) -> dict[str, Path]:
    """Service -> its newest file of this name among what botocore knows of cloud services."""
    return {path.parts[-3]: path for path in sorted((SITE / "botocore" / "data").glob(f"*/*/{name}"))}


def service_model(path: Path) -> dict[str, Any]:
    """The description of a service, compressed or not."""
    raw = path.read_bytes()
    model: dict[str, Any] = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    return model


def service_guide(rng: Random) -> Iterator[Source]:
    """What a cloud service does, operation by operation, in prose."""
    models, examples = newest("service-2.json*"), newest("examples-1.json")
    rich = {name for name, path in examples.items() if path.stat().st_size > RICH_EXAMPLES}
    for name in shuffled(rng, sorted(set(models) - rich)):
        model = service_model(models[name])
        told = [f"# {model['metadata'].get('serviceFullName', name)}", from_html(model.get("documentation", ""))]
        for title, operation in model["operations"].items():
            told.append(f"## {title}\n\n{from_html(operation.get('documentation', ''))}")
        yield source("botocore", name, "\n\n".join(told))


def worked_examples(rng: Random) -> Iterator[Source]:
    """Requests to cloud services and their replies, each with what the operation does and what the example shows."""
    models, examples = newest("service-2.json*"), newest("examples-1.json")
    told = []
    for name in shuffled(rng, sorted(set(models) & set(examples))):
        if examples[name].stat().st_size > RICH_EXAMPLES:
            operations = service_model(models[name])["operations"]
            for title, cases in json.loads(read(examples[name]))["examples"].items():
                purpose = from_html(operations.get(title, {}).get("documentation", "")).split("\n\n")[0]
                told.append(worked_example(name, title, purpose, cases[0]))
    yield source("botocore", "examples", "\n\n".join(each for each in told if len(each) < 2_500))


def worked_example(service: str, operation: str, purpose: str, case: dict[str, Any]) -> str:
    """One request with its reply, as text without blank lines inside (it is not to be cut in two)."""
    told = [purpose, f"Example: {case.get('title', operation)}", from_html(case.get("description", ""))]
    parts = [f"## {service} {operation}", *(f"{each.strip().rstrip('.')}." for each in told if each.strip())]
    parts += [f"{side.capitalize()}: {json.dumps(case[side])}" for side in ("input", "output") if case.get(side)]
    return "\n\n".join(part for part in parts if part).replace("\n\n", "\n")

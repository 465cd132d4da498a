"""Writes the README of an exported dataset: front matter for the Hugging Face Hub, and what a stranger must know.

Every figure is the answer to a question; what the pipeline does not do is said as plainly as what it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from pyspark.sql.types import ArrayType, DataType, StructType

from jobs.runtime.analysis import Analyst
from jobs.runtime.report.figures import answers
from jobs.runtime.report.telling import records, told

QUESTIONS = (
    "overview", "funnel", "length_summary", "type_mix", "type_distance", "evidence_positions", "grounding", "languages",
    "sources_and_licences", "teachers", "recipes", "instruction_diversity",
)  # fmt: skip
KINDS = {"string": "string", "bigint": "int64", "int": "int32", "double": "float64", "boolean": "bool"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGEST = "1M<n<10M"
MEANINGS = {
    "id": "hash of what the row was made from; the same on every run",
    "messages": "chat form: the documents and the request as `user`, the answer as `assistant`",
    "setting": "`single` or `multi`: over one document or two",
    "paradigm": "how the row was made",
    "document_type": "type of the documents",
    "n_tokens": "tokens of context, instruction and response together",
    "language": "ISO 639-1 code of the documents",
    "documents": "source documents with their licences",
    "evidence": "character spans of the documents that the answer rests on",
    "grounded_share": "share of the answer's sentences that rest on evidence",
    "teacher": "teacher that wrote the answer",
    "model": "model that wrote the answer",
    "rank": "place by score, 1 is the best",
    "score": "influence score after the norm of the settings",
    "hmp": "how much more the long context helps the long model than the short one",
    "cas": "how attention and segment perplexities of the long model go together",
}
MEANINGS_IMPORTED = MEANINGS | {
    "id": "hash of the record it was read from; the same on every run",
    "messages": "the chat as it was given, or made of the context, the instruction and the response",
    "setting": "`single` always: one text a row",
    "paradigm": "`imported`: made elsewhere",
    "document_type": "type the source states",
    "language": "language the source states",
    "documents": "the context as one document, with the licence the source states; its id is that of the record",
    "evidence": "empty: none was looked for",
    "grounded_share": "empty: evidence was not looked for",
    "teacher": "empty: not known here",
    "model": "empty: not known here",
    "record_id": "id the source gave",
    "split": "what parted context and instruction: `given`, or the name of a rule; not train and test",
}
LICENCES = "Documents keep the licences of their sources, also in rows. Where none is stated, ask."
LIMITS = (
    "Answers were written by a model. Located evidence shows that quotes stand in the documents, not that every "
    "statement is true.",
    LICENCES,
    "Conversations shaped the requests but are not part of the rows. Documents are as their sources have them: names "
    "and personal data in them were not removed.",
)
LIMITS_IMPORTED = (
    "Who or what wrote requests and answers is for their source to say; longloom did not check them. A score tells how "
    "much two models made of the long context, not whether an answer is true.",
    LICENCES,
    "Texts are as their sources have them: names and personal data in them were not removed.",
)


def card(
    analyst: Analyst, schema: StructType, splits: Mapping[str, int], formats: Sequence[str], name: str, version: int
) -> str:
    """The README's text, for rows of this schema in these splits (rows each)."""
    figures, _ = answers(analyst, QUESTIONS)
    matter = yaml.safe_dump(_front_matter(figures, schema, splits, formats, name), sort_keys=False, allow_unicode=True)
    return f"---\n{matter}---\n\n" + "\n".join(_body(figures, schema, splits, name, version)) + "\n"


def _front_matter(
    figures: Mapping[str, Any], schema: StructType, splits: Mapping[str, int], formats: Sequence[str], name: str
) -> dict[str, Any]:
    rows = sum(splits.values())
    data = formats[-1]  # Parquet where both are there: it is typed
    languages = [one["language"] for one in records(figures, "languages") if one["side"] == "training set"]
    files = [{"split": split, "path": f"{data}/{split}-*"} for split in splits]
    return {
        "pretty_name": name,
        "license": "other",  # of each document its own; see the table of sources
        "license_name": "licences-of-the-sources",
        "language": [code for code in languages if len(code) == 2],
        "task_categories": ["text-generation"],
        "tags": ["long-context", "instruction-tuning", *([] if imported(figures) else ["synthetic"])],
        "size_categories": [next((size for most, size in SIZES if rows < most), LARGEST)],
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {
            "features": [_feature(field.name, field.dataType) for field in schema.fields],
            "splits": [{"name": split, "num_examples": count} for split, count in splits.items()],
        },
    }


def imported(figures: Mapping[str, Any]) -> bool:
    """Whether the rows were made elsewhere and only measured here (`jobs/score.py`): no document was read for them."""
    facts = records(figures, "overview")
    return bool(facts) and bool(facts[0]["answered"]) and not facts[0]["documents"]


def _feature(name: str, kind: DataType) -> dict[str, Any]:
    return {"name": name, **_typed(kind)}


def _typed(kind: DataType) -> dict[str, Any]:
    """A column's type as the Hub writes it: a list of structs is a list of named features."""
    if isinstance(kind, ArrayType):
        inner = _typed(kind.elementType)
        return {"list": inner.get("struct", inner.get("dtype"))}
    if isinstance(kind, StructType):
        return {"struct": [_feature(field.name, field.dataType) for field in kind.fields]}
    return {"dtype": KINDS[kind.simpleString()]}


def _body(
    figures: Mapping[str, Any], schema: StructType, splits: Mapping[str, int], name: str, version: int
) -> Iterator[str]:
    about = told(figures, 0)
    elsewhere = imported(figures)
    meanings = MEANINGS_IMPORTED if elsewhere else MEANINGS
    yield f"# {name}\n\n{about['paragraph']}\n"
    yield from (f"> **Note.** {warning}\n" for warning in about["warnings"])
    yield '```python\nimport datasets\n\nrows = datasets.load_dataset("path/of/this/folder")\n```\n'
    yield "## Splits\n\n" + (
        "Made by context: rows over the same text, letter by letter, stay together.\n"
        if elsewhere
        else "Made by source document: rows that share a document, directly or over others, stay together.\n"
    )
    yield from _table(("split", "rows"), list(splits.items()))
    yield "## Fields\n"
    yield from _table(("field", "type", "meaning"), [
        (field.name, f"`{field.dataType.simpleString()}`", meanings.get(field.name, "")) for field in schema.fields
    ])  # fmt: skip
    yield from _composition(figures, elsewhere)
    yield from _scoring() if elsewhere else _making()
    yield from _provenance(figures, version, elsewhere)
    yield from _limits(figures, elsewhere)


def _composition(figures: Mapping[str, Any], elsewhere: bool) -> Iterator[str]:
    followed = "" if elsewhere else ", and the conversations' mix that they follow"
    yield f"## Composition\n\nDocument types{followed}:\n"
    columns = ("setting", "document_type", "conversation_share", "selected", "selected_share")
    yield from _answer(figures, "type_mix", [one for one in columns if not elsewhere or one != "conversation_share"])
    yield "Tokens:\n"
    yield from _answer(figures, "length_summary", ("setting", "part", "n_rows", "shortest", "median", "p90", "longest"))
    learnt = "" if elsewhere else " of the documents and of the conversations whose requests were learnt from"
    yield f"Sources and licences{learnt}:\n"
    yield from _answer(figures, "sources_and_licences", ("side", "source", "licence", "n_rows", "tokens"))
    yield "Languages:\n"
    yield from _answer(figures, "languages", ("side", "language", "n_rows"))


def _making() -> Iterator[str]:
    yield (
        "## How it was made\n\nBy longloom, after WildLong (arXiv 2502.16684): meta information of long conversations "
        "becomes a graph of values that go together, walks over it become requests, and a teacher answers each request "
        "from documents of the fitting type. Quotes are located in the documents before a row is accepted.\n"
    )


def _scoring() -> Iterator[str]:
    yield (
        "## How it was made\n\nElsewhere. longloom read the records in, parted context and instruction where they came "
        "as one text (`split` names the rule), and wrote none of them. Two language models, one for short contexts and "
        "one for long, read each row, after GATEAU (arXiv 2410.15633); rows were selected by the score that followed "
        "(`score`, of `hmp` and `cas`).\n"
    )


def _provenance(figures: Mapping[str, Any], version: int, elsewhere: bool) -> Iterator[str]:
    yield "What reached each table, and what became of it:\n"
    yield from _answer(figures, "funnel", ("stage", "outcome", "reason", "n_rows"))
    if not elsewhere:
        yield "Teachers, and the hashes of their prompts:\n"
        yield from _answer(figures, "teachers", ("stage", "teacher", "model", "prompt_sha", "n_rows"))
    yield f"Recipes (training set version {version}):\n"
    yield from _answer(figures, "recipes", ("stage", "output_version", "recipe"))


def _limits(figures: Mapping[str, Any], elsewhere: bool) -> Iterator[str]:
    offline = bool(told(figures, 0)["warnings"])
    yield "## Decontamination\n\nNone was run: no row was compared with a benchmark. Do so before you report scores.\n"
    yield "## Intended use and limits\n"
    yield (
        "- Supervised fine-tuning on long contexts. "
        + ("These rows were written by the offline teacher and are for testing the pipeline only." if offline else "")
    ).rstrip()
    yield from (f"- {limit}" for limit in (LIMITS_IMPORTED if elsewhere else LIMITS))


def _answer(figures: Mapping[str, Any], name: str, columns: Sequence[str]) -> Iterator[str]:
    found = records(figures, name)
    yield from _table([column.replace("_", " ") for column in columns], [[one[c] for c in columns] for one in found])


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    if not rows:
        yield "(none)\n"
        return
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(_cell(value) for value in row) + " |"
    yield ""


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")

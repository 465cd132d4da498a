"""Two servers that are not ours, by settings alone: the doctor, the form of replies, calls to their end, a whole run.

llama-cpp-python holds replies to a grammar; its model is random, so what the grammar leaves open is nonsense.
`transformers serve` holds replies to nothing; one model repeats pieces of the prompt, another gives one good answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

from jobs.runtime.checkout import CHECKOUT
from jobs.runtime.endpoints import settle_json_modes
from tests.equality import tables_at
from tests.faults.corpus import write_corpus
from tests.faults.job import Job
from tests.foreign import scribe
from tests.foreign.servers import CONTEXT, Foreign, llama_cpp, transformers_serve
from tests.udfs.llm.support import outcomes, request_rows, spooled
from udfs.llm.parse import parse_reply
from udfs.llm.sender import send
from udfs.settings import LlmSettings, TokenizerSettings

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

KEY_NAME, WRONG_NAME = "FAKE_KEY", "WRONG_KEY"
META: dict[str, Any] = {
    "document_type": "travel diary",
    "tasks": ["summarise the journey"],
    "user_intention": ["plan another route"],
    "user_profile": ["walker"],
    "language_style": ["plain"],
    "context": ["holiday by the sea"],
    "user_knowledge": ["has the diary at hand"],
    "chatbot_knowledge": ["geography"],
    "long_context_capability": ["finding places named far apart"],
    "output_format": ["bullet list"],
    "sentiment": ["curious"],
    "constraint": ["no more than ten lines"],
    "simplified_instruction": "List the places of this diary in their order.",
}
TEXTS = [f"text {number}" for number in range(16)]
LONG = "word " * CONTEXT


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    with llama_cpp(tmp_path_factory.mktemp("llama"), os.environ[KEY_NAME]) as running:
        yield running


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    with transformers_serve(tmp_path_factory.mktemp("serve")) as running:
        yield running


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    """A model that gives META whatever it is asked."""
    with transformers_serve(
        tmp_path_factory.mktemp("answering"), lambda folder: scribe.write(folder, json.dumps(META), CONTEXT)
    ) as running:
        yield running


def given(server: Foreign, **changes: Any) -> dict[str, Any]:
    """The section `llm` as a user writes it."""
    plain = {
        "teacher": "openai",
        "base_url": server.base_url,
        "model": server.model,
        "api_key_env": KEY_NAME,
        "json_mode": "auto",
        "max_tokens": 1_024,
        "context_tokens": CONTEXT,
        "concurrency": 4,
    }
    return {**plain, **changes}


def doctor(folder: Path, llm: dict[str, Any]) -> tuple[int, str]:
    """Exit status of the doctor, and what it says of the endpoint."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"llm": llm}), encoding="utf-8")
    command = [sys.executable, "jobs/doctor.py", "--root", str(folder), "--config", str(config)]
    environment = {**os.environ, WRONG_NAME: "not-the-key-1c8e", "PYTHONPATH": str(CHECKOUT)}
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, env=environment)
    assert "not-the-key-1c8e" not in run.stdout and os.environ[KEY_NAME] not in run.stdout
    _, found, said = run.stdout.partition(" endpoint ")
    assert found, run.stdout + run.stderr
    return run.returncode, said


def ended(server: Foreign, spool: Path, texts: list[str] = TEXTS, **changes: Any) -> tuple[list[Any], list[Any]]:
    """How requests with these texts end, and all calls that were made for them."""
    tokenizer = changes.pop("tokenizer", None)
    llm = settle_json_modes(LlmSettings(**given(server, **changes)), [], lambda stage: None)
    run = send(llm, str(spool), "stage", spool.name, tokenizer=tokenizer)
    return list(outcomes(run(iter([request_rows(texts, llm)]))).values()), spooled(str(spool))


def require_typed(found: list[Any], calls: list[Any], kinds: set[str]) -> None:
    """Every request ends as an answer or as one of these kinds, and every call tells what it took."""
    assert {row["error_kind"] for row in found if row["status"] != "ok"} <= kinds, found
    assert {row["status"] for row in found} <= {"ok", "lasting"}, found
    for call in calls:
        assert call["tokens_in"] > 0 and call["tokens_out"] > 0 and call["finish_reason"] in ("stop", "length"), call


# --- llama-cpp-python --------------------------------------------------------------------------------------------


def test_the_doctor_on_llama_cpp(llama: Foreign, tmp_path: Path) -> None:
    status, said = doctor(tmp_path, given(llama))
    assert status == 0 and f"{llama.base_url} answers as tiny" in said, said
    assert "replies are held to a form by json_mode object_schema" in said
    status, said = doctor(tmp_path, given(llama, model="another"))
    assert status == 0 and "answers as another" in said, "it has one model, whatever name it is given"
    status, said = doctor(tmp_path, given(llama, json_mode="schema"))
    assert status == 1 and "--set llm.json_mode=object_schema" in said, "strict schemas as OpenAI has them: refused"
    status, said = doctor(tmp_path, given(llama, api_key_env=WRONG_NAME))
    assert status == 1 and "HTTP 401" in said and f"export {WRONG_NAME}=" in said, said


def test_its_grammar_holds_replies_to_the_schema(llama: Foreign, tmp_path: Path) -> None:
    found, calls = ended(llama, tmp_path)
    require_typed(found, calls, {"bad_json", "length"})
    answered = {row["key"] for row in found if row["status"] == "ok"}
    assert len(answered) > len(TEXTS) // 2, found
    for call in calls:
        assert json.loads(call["parameters"])["json_mode"] == "object_schema"
        if call["key"] in answered and call["status"] == "ok":
            # Its grammar lets control characters stand in strings as they are.
            reply = json.loads(call["text"], strict=False)
            assert list(reply) == ["label"] and isinstance(reply["label"], str)


def test_its_json_without_a_schema_is_refused_as_an_answer(llama: Foreign, tmp_path: Path) -> None:
    found, calls = ended(llama, tmp_path, json_mode="object")
    require_typed(found, calls, {"bad_json", "length"})
    assert "bad_json" in {row["error_kind"] for row in found}
    assert all(isinstance(json.loads(c["text"], strict=False), dict) for c in calls if c["finish_reason"] == "stop")
    assert len(calls) > len(TEXTS), "a reply off the schema gets its correction turn"


def test_its_nonsense_without_a_grammar_is_cut_off(llama: Foreign, tmp_path: Path) -> None:
    found, calls = ended(llama, tmp_path, json_mode="prompt", max_tokens=64)
    require_typed(found, calls, {"bad_json", "length"})
    assert "ok" not in {row["status"] for row in found} and "length" in {row["error_kind"] for row in found}


def test_it_says_itself_what_is_too_long(llama: Foreign, tmp_path: Path) -> None:
    ((row,), (call,)) = ended(llama, tmp_path, [LONG], context_tokens=100 * CONTEXT)
    assert (row["status"], row["error_kind"]) == ("lasting", "context_too_long") and "HTTP 400" in call["error"]


@pytest.mark.parametrize("wrong", [{"api_key_env": WRONG_NAME}, {"base_url": "{}/elsewhere"}])
def test_a_wrong_key_and_a_wrong_address_end_it(
    llama: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    monkeypatch.setenv(WRONG_NAME, "not-the-key-1c8e")
    changes = {name: value.format(llama.base_url) for name, value in wrong.items()}
    found, _ = ended(llama, tmp_path, TEXTS[:2], json_mode="object_schema", **changes)
    kind = "authentication" if "api_key_env" in wrong else "not_found"
    assert {(row["status"], row["error_kind"]) for row in found} == {("fatal", kind)}


@pytest.mark.spark
def test_a_run_up_to_meta_records(spark: SparkSession, llama: Foreign, tmp_path: Path) -> None:
    """Every conversation is described, rejected with a reason, or waits."""
    settings = [*write_corpus(tmp_path / "corpus"), f"llm={json.dumps(given(llama))}"]
    with Job(tmp_path / "root", settings, "--until", "meta_records") as job:
        assert job.end() in (0, 4), job.said
    tables = tables_at(spark, tmp_path / "root")
    rows = tables.read("meta_records").collect()
    waiting = {row["input_id"] for row in tables.read("deferrals").where("reason IS NOT NULL").collect()}
    kept = {row["id"] for row in tables.read("long_conversations").where("reject_reason IS NULL").collect()}
    assert kept and kept == {row["parent_ids"][0] for row in rows} | waiting, job.said
    described = [row for row in rows if row["reject_reason"] is None]
    assert described and all(row["document_type"] and row["model"] == "tiny" for row in described), job.said
    assert {row["reject_reason"] for row in rows} <= {None, "llm:bad_json", "llm:length", "too_many_values"}, job.said
    calls = tables.read("llm_calls").collect()
    assert all(call["tokens_in"] > 0 and call["tokens_out"] > 0 for call in calls)
    read = {call["parent_key"] or call["key"] for call in calls if parse_reply(call["text"], "meta").value}
    asked = {call["id"]: call["key"] for call in calls}  # a row names its first call, a correction that one's key
    assert {asked[row["call_id"]] for row in described} <= read


# --- transformers serve ------------------------------------------------------------------------------------------


def test_the_doctor_on_transformers_serve(serve: Foreign, tmp_path: Path) -> None:
    """It takes any key; a schema it does as if it had not seen."""
    status, said = doctor(tmp_path, given(serve, api_key_env=WRONG_NAME))
    assert status == 0 and f"{serve.base_url} answers as {serve.model}" in said, said
    assert "replies are held to a form by json_mode prompt" in said
    status, said = doctor(tmp_path, given(serve, model="another"))
    assert status == 1 and "requested 'another'" in said, said


@pytest.mark.parametrize(("extra", "kind"), [({}, "length"), ({"stop": "\n"}, "bad_json")])
def test_its_prose_is_no_answer(serve: Foreign, tmp_path: Path, extra: dict[str, str], kind: str) -> None:
    """A setting of the server's own, through `extra_body`, has it stop by itself."""
    found, calls = ended(serve, tmp_path, TEXTS[:4], json_mode="prompt", max_tokens=24, extra_body=extra)
    require_typed(found, calls, {"length", "bad_json", "empty"})
    assert kind in {row["error_kind"] for row in found}
    assert "ok" not in {row["status"] for row in found}


def test_what_is_too_long_for_it_is_not_sent(serve: Foreign, tmp_path: Path) -> None:
    """It would read on past its model's context; we count with the model's own tokenizer."""
    counted = TokenizerSettings(name=serve.model)
    ((row,), (call,)) = ended(serve, tmp_path, [LONG], json_mode="prompt", tokenizer=counted)
    assert (row["status"], row["error_kind"]) == ("lasting", "context_too_long")
    assert call["tokens_in"] is None and "the context holds 8192" in call["error"]


def test_a_field_that_it_does_not_know_is_a_bad_request(serve: Foreign, tmp_path: Path) -> None:
    found, calls = ended(serve, tmp_path, TEXTS[:2], json_mode="prompt", extra_body={"bogus": 1})
    assert {(row["status"], row["error_kind"]) for row in found} == {("passing", "bad_request")}
    assert all(call["error"] == "HTTP 422: Unexpected fields in the request: {'bogus'}" for call in calls)


@pytest.mark.spark
def test_a_run_on_its_answers(spark: SparkSession, answering: Foreign, tmp_path: Path) -> None:
    """Each conversation is described by a call that went over the wire, and again without one."""
    settings = [*write_corpus(tmp_path / "corpus"), f"llm={json.dumps(given(answering))}"]
    for _ in range(2):
        with Job(tmp_path / "root", settings, "--until", "meta_records") as job:
            assert job.end() == 0, job.said
    tables = tables_at(spark, tmp_path / "root")
    kept = {row["id"] for row in tables.read("long_conversations").where("reject_reason IS NULL").collect()}
    rows = tables.read("meta_records").collect()
    assert kept and {row["parent_ids"][0] for row in rows} == kept and len(rows) == len(kept)
    assert {row["reject_reason"] for row in rows} == {None}
    assert {row["model"] for row in rows} == {f"{answering.model}@main"}, "as the server names it"
    described = {name: told if isinstance(told, list) else [told] for name, told in META.items()}
    for row in rows:
        found = {name: row[name] if isinstance(row[name], list) else [row[name]] for name in META}
        assert found == described
    calls = tables.read("llm_calls").collect()
    assert len(calls) == len(kept) and all(call["status"] == "ok" for call in calls)
    assert all(call["tokens_in"] > 0 and call["tokens_out"] > 0 and call["seconds"] > 0 for call in calls)

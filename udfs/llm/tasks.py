"""The tasks a teacher can be asked: name, prompt file, reply model, variables.

It is a table and nothing else: how a prompt is rendered or a reply read is not its business.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from udfs.llm.schemas import (
    AnswerabilityReply,
    AnswerReply,
    InstructionReply,
    LabelReply,
    MetaReply,
    RewriteReply,
)


@dataclass(frozen=True)
class Task:
    """One kind of request.

    `variables` are the JSON-able inputs, all required. `document_first` says that the prompt opens with the
    document, so that calls on the same document share a prefix the provider can cache; otherwise the fixed
    instructions come first and are the shared prefix.
    """

    name: str
    prompt_file: str
    reply: type[BaseModel]
    variables: frozenset[str]
    document_first: bool = False


def _task(name: str, reply: type[BaseModel], *variables: str, document_first: bool = False) -> Task:
    """A task whose prompt file carries its name."""
    return Task(name, f"{name}.j2", reply, frozenset(variables), document_first)


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _task("meta", MetaReply, "user", "assistant"),
        _task("type_label", LabelReply, "examples", "taken"),
        _task("document_label", LabelReply, "text", "labels"),
        _task("task_rewrite", RewriteReply, "document_type", "field", "value"),
        _task(
            "instruction",
            InstructionReply,
            "setting",
            "document_type",
            "path",
            "demo_path",
            "demo_instruction",
        ),
        _task(
            "answer",
            AnswerReply,
            "setting",
            "document_type",
            "documents",
            "instruction",
            "path",
            document_first=True,
        ),
        _task("answerability", AnswerabilityReply, "documents", "instruction", document_first=True),
    )
}


def task_named(name: str) -> Task:
    """The task of that name; KeyError with the known names otherwise."""
    if name not in TASKS:
        raise KeyError(f"no task is named {name!r}; known: {', '.join(TASKS)}")
    return TASKS[name]

"""What the demonstration's users ask: a task, sometimes with an audience, a reason, a tone and constraints.

Sentences only; which text is pasted and what the answer says are others' business.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from jobs.runtime.demo.replies import Wish

# What a person would call a text of the kind.
NOUNS = {
    "api_reference": ("API reference", "module documentation", "function reference"),
    "changelog": ("change log", "release history", "version history"),
    "error_catalogue": ("list of error messages", "error catalogue", "error reference"),
    "how_to_guide": ("guide", "how-to document", "instruction sheet"),
    "language_manual": ("chapter of a language manual", "language reference", "manual page"),
    "licence": ("licence text", "licence agreement", "legal notice"),
    "mathematics_notes": ("collection of mathematical notes", "algorithm reference", "mathematics reference"),
    "readme": ("project page", "readme", "product description"),
    "service_guide": ("service description", "cloud service guide", "operations reference"),
    "source_code": ("source file", "Python module", "piece of code"),
    "test_code": ("test module", "test suite", "set of unit tests"),
    "worked_examples": ("collection of worked examples", "set of request and response samples", "example collection"),
}

# shape -> phrasings; {n} is a number of items, {text} what the pasted text is called.
TASKS: dict[str, tuple[str, ...]] = {
    "bullets": (
        "Summarize this {text} in {n} bullet points.",
        "Give me the {n} most important points of the {text}.",
        "What are the {n} key takeaways from this {text}?",
    ),
    "numbered": (
        "Walk me through the {text} in {n} numbered steps.",
        "List the main parts of this {text} in order, {n} at most, with one sentence each.",
    ),
    "paragraph": (
        "Write an abstract of this {text} in one paragraph of about {n} sentences.",
        "Condense the {text} into a short paragraph.",
        "Write an executive summary of the {text}, {n} sentences, no lists.",
    ),
    "table": (
        "Make a table of the {n} main parts of the {text} and what each of them says.",
        "Turn this {text} into a two-column overview table with {n} rows.",
    ),
    "figures": (
        "Extract up to {n} numbers, versions or dates from the {text} into a table, with the sentence each stands in.",
        "Which figures appear in this {text}? Put {n} of them into a table.",
    ),
    "glossary": (
        "Build a glossary of {n} terms that this {text} explains.",
        "Define the {n} central terms of the {text}, in its own words.",
    ),
    "outline": (
        "Draft an outline of this {text}: {n} headings with one sentence under each.",
        "Show me how the {text} is organized, as an outline with {n} entries.",
    ),
    "questions": (
        "Write an FAQ with {n} questions that this {text} answers, together with the answers.",
        "Think of {n} questions a reader could have about the {text}, and answer them from it.",
    ),
    "quotations": (
        "Quote the {n} most telling sentences of the {text} word for word, and say where they stand.",
        "Find {n} sentences in this {text} that I could cite, exactly as written.",
    ),
    "comparison": (
        "Compare the first half of the {text} with the second half in a table.",
        "Contrast what the beginning and the end of this {text} cover, side by side.",
    ),
    "checklist": (
        "Turn this {text} into a checklist of {n} items that I can tick off.",
        "Make a checklist with {n} boxes from the requirements in the {text}.",
    ),
    "structured": (
        "Return a JSON object with the title, the topics and {n} key points of the {text}.",
        "Extract title, topics and key points of this {text} as JSON, {n} entries per list.",
    ),
    "letter": (
        "Write an email to a colleague that passes on the {n} essentials of this {text}.",
        "Draft a short message to my team about the {text} with {n} points at most.",
    ),
    "cards": (
        "Make {n} flash cards from this {text}, front and back.",
        "Prepare study cards for the {text}: {n} of them, a keyword on the front and its explanation on the back.",
    ),
    "announcement": (
        "Write a headline and a short announcement that presents this {text}.",
        "Turn the {text} into a brief news item with a headline.",
    ),
    "duties": (
        "List everything this {text} requires of its readers, {n} items at most.",
        "Which obligations and requirements does the {text} state? Give me up to {n}.",
    ),
    "warnings": (
        "Which pitfalls, errors and limits does this {text} mention? List up to {n}.",
        "Collect the warnings in the {text}, {n} at most.",
    ),
    "open_points": (
        "What does this {text} leave open, optional or conditional? Up to {n} points.",
        "Find {n} places where the {text} depends on a setting or a circumstance.",
    ),
}

# What is asked of one kind of text only.
SPECIAL: dict[str, tuple[tuple[str, str], ...]] = {
    "api_reference": (
        ("table", "Write a cheat sheet of {n} functions or classes in this {text}: name and purpose."),
        ("warnings", "Which exceptions and unsupported uses does the {text} document? Up to {n}."),
    ),
    "changelog": (
        ("changes", "Write upgrade notes from this {text}: {n} changes that a user of the library will notice."),
        ("changes", "Which features were added and which bugs were fixed according to the {text}? List {n}."),
    ),
    "error_catalogue": (
        ("table", "Make a troubleshooting table from this {text}: {n} errors and what they mean."),
        ("duties", "What must a user do to avoid the errors in the {text}? Give me {n} rules."),
    ),
    "how_to_guide": (
        ("numbered", "Turn the {text} into a procedure of {n} steps for the first day at work."),
        ("checklist", "Derive {n} acceptance criteria from this {text}."),
    ),
    "language_manual": (
        ("cards", "Prepare {n} exam questions with answers from this {text}."),
        ("open_points", "Which behaviour does the {text} leave to the implementation or to options? Up to {n} points."),
    ),
    "licence": (
        ("duties", "What does this {text} oblige a licensee to do? List {n} obligations."),
        (
            "quotations",
            "Quote the {n} clauses of the {text} that matter most to a company that redistributes the software.",
        ),
    ),
    "mathematics_notes": (
        ("glossary", "Make a formula and definition sheet of {n} entries from the {text}."),
        ("cards", "Prepare {n} cards for an oral exam on this {text}."),
    ),
    "readme": (
        ("announcement", "Write a short product announcement based on this {text}."),
        ("questions", "Write a buyer's FAQ with {n} questions from the {text}."),
    ),
    "service_guide": (
        ("table", "List {n} operations of this {text} in a table: name and what it does."),
        ("duties", "What are the preconditions and permissions named in the {text}? Up to {n}."),
    ),
    "source_code": (
        ("outline", "Explain the structure of this {text} for a code review: {n} parts with one sentence each."),
        (
            "warnings",
            "Where does this {text} raise errors or refuse input, according to its comments? Up to {n} places.",
        ),
    ),
    "test_code": (
        ("table", "Write an inventory of what this {text} checks: {n} rows, test and purpose."),
        ("bullets", "What behaviour does the {text} pin down? Name {n} facts from its comments."),
    ),
    "worked_examples": (
        ("table", "Make an overview table of {n} examples in this {text}: operation and what it shows."),
        ("numbered", "Order {n} of the examples in the {text} as a tutorial."),
    ),
}

AUDIENCES = (
    "a new member of the team",
    "a manager who has five minutes",
    "first-year students",
    "a lawyer without a technical background",
    "experienced data engineers",
    "people who do not speak English natively",
    "an auditor",
    "the support desk",
    "an open-source maintainer",
    "a procurement department",
    "high-school pupils",
    "technical writers",
    "a security reviewer",
)
TONES = (
    "Keep the tone formal.",
    "Please be friendly and encouraging.",
    "Write soberly, without adjectives.",
    "Stay neutral.",
    "Be brisk and direct.",
    "Use a patient, explanatory tone.",
    "Sound confident but not salesy.",
    "Keep it warm and informal.",
)
REASONS = (
    "I am preparing a review meeting.",
    "I have to decide whether we adopt this.",
    "I am writing an internal handbook.",
    "I am getting ready for an exam.",
    "We are planning a migration next month.",
    "I need this for a compliance report.",
    "I am onboarding two colleagues next week.",
    "I want to understand what changed before I upgrade.",
    "This goes into a slide deck.",
    "I maintain a similar project and want to compare.",
    "I am triaging tickets.",
    "My department is evaluating vendors.",
)
KNOWLEDGE = (
    "I know Python well but not this subject.",
    "I have no background in this field.",
    "I have read the first page only.",
    "I worked with an older version years ago.",
    "I am an expert, so skip the basics.",
    "I know the theory but not the tool.",
    "English is my second language.",
    "Assume that I have never heard of it.",
)
LIMITS = (
    "Use only what the text says.",
    "If the text does not say it, leave it out.",
    "Do not add anything from outside.",
    "Keep the original order.",
    "Keep names and numbers exactly as they are.",
    "Do not include code.",
)
LISTS = frozenset({"bullets", "checklist", "letter", "duties", "warnings", "open_points", "changes"})
ENTRIES = frozenset({"numbered", "table", "outline", "questions", "cards", "glossary"})
# field of Wish -> how it is asked for, and the shapes that can honour it
FORMS: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("short", "No item may be longer than 25 words.", LISTS | {"figures", "quotations", "comparison"}),
    ("overview", "Start with one sentence that sums everything up.", LISTS | ENTRIES | {"figures", "quotations"}),
    ("sections", "Name the section each item comes from.", LISTS),
    ("closing", "Close with one sentence on what you left out.", LISTS | ENTRIES | {"paragraph", "comparison"}),
)
FENCES = (
    ("", ""),
    ("---\n", "\n---"),
    ("=====\n", "\n====="),
    ("<text>\n", "\n</text>"),
    ("```\n", "\n```"),
    ("Text:\n\n", ""),
)
LEADS = ("Here is the {text}:", "The {text} follows.", "This is the {text}:", "Below is the {text}.", "")


@dataclass(frozen=True)
class Request:
    """A user's message, and the shape and form of the answer it asks for."""

    message: str
    shape: str
    wish: Wish


def compose(rng: random.Random, kind: str, pasted: str) -> Request:
    """A message that pastes a text of the kind and asks for something; the words vary with the generator's state."""
    noun = rng.choice(NOUNS[kind])
    shape, task = choose_task(rng, kind)
    items = rng.choice((3, 4, 5, 6, 7, 8, 10))
    possible = [(name, sentence) for name, sentence, shapes in FORMS if shape in shapes]
    forms = dict(rng.sample(possible, min(len(possible), rng.choice((0, 0, 1, 1, 2)))))
    wish = Wish(items=items, **dict.fromkeys(forms, True))
    asked = [task.format(n=items, text=noun)]
    if rng.random() < 0.6:
        asked.append(
            rng.choice(("It is for {}.", "Write it for {}.", "I will pass it on to {}.")).format(rng.choice(AUDIENCES))
        )
    asked += forms.values()
    asked += [rng.choice(LIMITS)] if rng.random() < 0.6 else []
    asked += [rng.choice(TONES)] if rng.random() < 0.5 else []
    around = [rng.choice(REASONS)] if rng.random() < 0.55 else []
    around += [rng.choice(KNOWLEDGE)] if rng.random() < 0.45 else []
    return Request(arrange(rng, " ".join(asked), " ".join(around), noun, pasted.strip()), shape, wish)


def choose_task(rng: random.Random, kind: str) -> tuple[str, str]:
    """A shape and its phrasing: one in three is peculiar to the kind."""
    if rng.random() < 0.35:
        return rng.choice(SPECIAL[kind])
    shape = rng.choice(tuple(TASKS))
    return shape, rng.choice(TASKS[shape])


def arrange(rng: random.Random, asked: str, around: str, noun: str, pasted: str) -> str:
    """Task before, after, or around the pasted text."""
    before, after = rng.choice(FENCES)
    lead = rng.choice(LEADS).format(text=noun)
    block = "\n\n".join(part for part in (lead, f"{before}{pasted}{after}") if part)
    place = rng.random()
    parts: tuple[str, ...]
    if place < 0.55:
        parts = (f"{around} {asked}".strip(), block)
    elif place < 0.85:
        parts = (block, f"{around} {asked}".strip())
    else:
        parts = (around or "I have a longer text for you.", block, asked)
    return "\n\n".join(parts)

"""What an extractive answer can do with a document: the operations, and the cues that find their sentences.

An operation says which sentences to look for and how to group them; it selects nothing itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Mode = Literal["coverage", "topic", "groups", "terms", "names", "contrast", "parts", "code"]


@dataclass(frozen=True)
class Operation:
    """One way of answering by extraction.

    `mode` says how points are formed: over the whole text, about one topic, in fixed groups, one for each key
    term, name or part of the text, or as a contrast of two topics. A sentence with a `cue` is preferred; with
    `strict` only such sentences are taken, where there are enough. `lead` are lines that announce the points.
    """

    name: str
    mode: Mode
    cue: re.Pattern[str] | None
    weight: float
    strict: bool
    groups: tuple[tuple[str, re.Pattern[str]], ...]
    leads: tuple[str, ...]


def _pattern(words: str) -> re.Pattern[str]:
    """Case-blind pattern of alternatives that begin at a word's start."""
    return re.compile(rf"(?i)\b(?:{words})")


_YEARS = r"1[5-9]\d\d\b|20[0-4]\d\b"
_MONTHS = r"january|february|march \d|april|may \d|june|july|august|september|october|november|december"
_CLAIMS = _pattern(
    r"we (?:propose|present|show|introduce|find|argue|demonstrate|develop|observe)|this (?:paper|work|report|article|study)|"
    r"(?:aims?|purpose|goal|objective)\b|main (?:contribution|point|idea|finding)|argues?\b|claims?\b|shows? that|"
    r"suggests? that|is (?:important|essential|crucial)|contribution"
)
_SUPPORT = _pattern(
    r"results?\b|experiments?\b|evidence|data\b|outperform|improv|compared (?:to|with)|percent|according to|found that|"
    r"because|example|evaluat|measured|tested|observed|significant|accuracy"
)
_LIMITS = _pattern(
    r"however|although|limit(?:ation|ed|s)?\b|fails?\b|cannot|not (?:clear|known|possible|enough|always|yet)|future work|"
    r"difficult|problem|challeng|drawback|only\b|lack|despite|remain|unless|except|uncertain|may not|but\b"
)
_PRAISE = _pattern(
    r"great\b|excellent|good\b|nice\b|lovely|wonderful|friendly|helpful|comfortable|clean\b|love[ds]?\b|perfect|best\b|"
    r"amazing|recommend|beautiful|fantastic|pleasant|enjoyed|favou?rite|impress|happy|success|acclaim|praised|awarded|"
    r"advantage|benefit|well[- ]received|positive|convenient|spacious"
)
_COMPLAINT = _pattern(
    r"bad\b|poor(?:ly)?\b|terrible|dirty|noisy|noise|small\b|expensive|rude|disappoint|problem|unfortunately|worst|"
    r"complain|never\b|not (?:good|great|clean|worth|enough|what)|broken|old\b|tiny|overpriced|slow\b|critici[sz]|negative|"
    r"lack|fail|awful|annoy|difficult|however|only (?:complaint|downside|negative)|controvers|drawback|wait(?:ed)?\b"
)
_GIVEN = _pattern(
    r"given\b|let\b|assum|suppos|consider|defined? (?:as|by)|denot|known|based on|starting|initial|input|according to|"
    r"under the|set of|consists? of|is an?\b|are the\b"
)
_CONCLUDED = _pattern(
    r"therefore|thus\b|hence|conclu|results? (?:in|show)|shows?\b|implies|follows|found|finally|as a result|so that|"
    r"means that|indicat|leads? to|in the end|turn(?:s|ed) out|must\b|overall"
)


def _operation(
    name: str,
    mode: Mode,
    cue: re.Pattern[str] | None,
    weight: float,
    leads: str,
    *,
    strict: bool = False,
    groups: tuple[tuple[str, re.Pattern[str]], ...] = (),
) -> Operation:
    """An operation; `leads` are separated by '|'."""
    return Operation(name, mode, cue, weight, strict, groups, tuple(leads.split("|")))


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        _operation(
            "summary",
            "coverage",
            _pattern(
                r"this (?:paper|report|article|agreement|work|study|invention|book|guide|course)|we (?:propose|present|show|find)|"
                r"overall|in conclusion|conclu|main\b|primary|purpose|in (?:short|summary|general)|the (?:present )?invention|"
                r"important|most\b|first\b|provides?\b|result"
            ),
            0.35,
            "The main points, in the order of the text:|What the {noun} says, from beginning to end:|In short:",
        ),
        _operation("question", "topic", None, 0.0, "What the {noun} says about {topic}:|On {topic}:|{topic}, as the {noun} has it:"),
        _operation(
            "facts",
            "coverage",
            re.compile(rf"\d|{_MONTHS}", re.IGNORECASE),
            0.7,
            "Facts stated in the {noun}:|The particulars, in the order of the text:",
            strict=True,
        ),
        _operation(
            "obligations",
            "coverage",
            _pattern(
                r"shall\b|must\b|may not|agrees? to|required to|prohibit|obligat|responsible for|terminat|indemnif|"
                r"liable|liability|within \S+ (?:days|months|years)|no later than|prior written|exclusive|warrant|confidential"
            ),
            1.0,
            "Provisions to look at:|Duties and limits, in the order of the text:",
            strict=True,
        ),
        _operation(
            "evaluation",
            "groups",
            None,
            0.0,
            "Claims, support and limits, in the words of the {noun}:",
            groups=(("What it claims", _CLAIMS), ("What supports it", _SUPPORT), ("Limits and open points", _LIMITS)),
        ),
        _operation(
            "prior_work",
            "coverage",
            re.compile(
                r"et al|\b(?:previous|prior|earlier|existing|recent(?:ly)?|traditional(?:ly)?|in contrast|unlike|studies|"
                r"literature|background|approaches|history|so far|until now|originally|[12]\d{3})\b",
                re.IGNORECASE,
            ),
            1.0,
            "Earlier work and how the {noun} relates to it:|What came before, going by the {noun}:",
            strict=True,
        ),
        _operation(
            "opinions",
            "groups",
            None,
            0.0,
            "Opinions voiced in the {noun}:",
            groups=(("Praise", _PRAISE), ("Criticism", _COMPLAINT)),
        ),
        _operation(
            "discussion",
            "coverage",
            _pattern(
                r"i think|we (?:should|need|have to|agreed|decided|could|are going)|suggest|propos|problem|important|because|"
                r"question|decid|agree|idea|plan|need to|will\b|committed|the issue|what we"
            ),
            0.6,
            "From the discussion:|What was said, in order:|Points raised, in order:",
        ),
        _operation(
            "scenes",
            "coverage",
            _pattern(
                r"said\b|look|turn|saw\b|went\b|came\b|ran\b|found\b|began|stood|open|walk|ask|told|took|left\b|sudden|finally|"
                r"enter|arriv|fell\b|kill|discover|realiz|return|decid|learn|attack|die[sd]?\b|leave|meet|tries"
            ),
            0.6,
            "The course of events:|Key moments, in order:",
        ),
        _operation(
            "requirements",
            "coverage",
            _pattern(
                r"must\b|needs? to|require|have to|has to|should\b|only if|unless|eligib|in order to|at least|you (?:can|may)\b|"
                r"not (?:allowed|permitted)|shall\b|make sure|ensure|cannot|qualif"
            ),
            1.0,
            "Requirements and conditions:|What is required, in the order of the text:",
            strict=True,
        ),
        _operation("code", "code", None, 0.0, "The parts of the {noun}:|Building blocks, in the order of the file:"),
        _operation(
            "claims",
            "groups",
            None,
            0.0,
            "Starting points and results:",
            groups=(("Taken as given", _GIVEN), ("Concluded", _CONCLUDED)),
        ),
        _operation("people", "names", _pattern(r"is\b|was\b|are\b|has\b|had\b|who\b|will\b|shall\b"), 0.4, "Who appears in the {noun}:|The main figures:"),
        _operation(
            "arguments",
            "coverage",
            _pattern(
                r"because|therefore|argu|suggest|believ|should\b|evidence|important|reason|claim|indicat|means? that|"
                r"shows? that|must\b|cannot|the point|in fact|need\b|fail|truth|matters?\b|critical"
            ),
            0.9,
            "Claims and reasons:|The argument, step by step:",
            strict=True,
        ),
        _operation(
            "recommendations",
            "coverage",
            _pattern(
                r"should\b|recommend|advis|suggest|ought|must\b|need(?:s|ed)? to|encourag|best (?:to|way)|consider\b|"
                r"it is (?:important|necessary|essential)|propos|make sure|avoid\b|prefer|could be improved|would be (?:useful|better)"
            ),
            1.0,
            "What is advised or called for:|Recommendations found in the {noun}:",
            strict=True,
        ),
        _operation(
            "procedure",
            "coverage",
            _pattern(
                r"first\b|then\b|next\b|after\b|before\b|once\b|finally|step|begin|start|during|followed by|until|when\b|"
                r"in order to|to do (?:this|so)|by \w+ing|prepar|process"
            ),
            0.9,
            "The steps, in order:|How it goes, from first to last:",
            strict=True,
        ),
        _operation("comparison", "contrast", None, 0.0, "Two topics side by side:"),
        _operation("themes", "terms", None, 0.0, "Themes that run through the {noun}:"),
        _operation("outline", "parts", None, 0.0, "The {noun}, part by part:|Outline:"),
        _operation(
            "timeline",
            "coverage",
            re.compile(rf"{_YEARS}|{_MONTHS}|\b(?:century|years? (?:later|ago|old)|days? later|since|until|in \d+ (?:days|months|years))\b", re.IGNORECASE),
            1.0,
            "In order of the text, with the dates it gives:|How things developed:",
            strict=True,
        ),
        _operation(
            "definitions",
            "terms",
            _pattern(r"(?:is|are|was) (?:an?|the|one of|defined|called|known)\b|refers? to|means?\b|stands for|denot|consists? of|defin|includ"),
            1.2,
            "Key terms and what the {noun} says of them:|Terms, in the wording of the {noun}:",
        ),
        _operation(
            "reasons",
            "coverage",
            _pattern(
                r"because|since\b|due to|as a result|leads? to|caus|therefore|so that|reason|in order to|consequen|"
                r"results? in|resulted|allow|enabl|prevent|thus\b|owing|led to|why\b|effect"
            ),
            1.0,
            "Causes and effects:|Reasons given in the {noun}:",
            strict=True,
        ),
    )
}
FALLBACK = OPERATIONS["summary"]

"""Quotes are found where they stand, spans hold in the original text, and grounding counts what is backed."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.evidence import Grounding, Span, grounding, locate_quotes
from udfs.settings import EvidenceSettings

RULES = EvidenceSettings()
REPORT = (
    "The bridge was closed in May after engineers found cracks in two of its piers.\n"
    "Repairs will cost 4 million euros and last until the\n   spring of next year.\n"
    "Traffic is sent over the northern bypass in the meantime."
)
LETTER = "We regret that the ferry cannot run at night. Passengers may change their tickets free of charge."
DOCUMENTS = [("report", REPORT), ("letter", LETTER)]

# Text in which letters change length when folded, combine, run right to left, or have no spaces between words.
alphabets = st.sampled_from(
    [
        *("abc déß ", "İıſßﬁ x", "e\u0301a\u0308 b", "שלום عربى ", "東京都は大", "“a” ‘b’ –c- ", "\u200b\u00ad ab\n\t"),
        *("\u202e\u202c\u200f שלab", "\U0001f468\u200d\U0001f467 {}<|>"),
    ]
)
texts = alphabets.flatmap(lambda letters: st.text(alphabet=letters, min_size=0, max_size=200))


def found(quote: str, documents: list[tuple[str, str]] = DOCUMENTS) -> Span | None:
    spans = locate_quotes([quote], documents, RULES)
    return spans[0] if spans else None


def shown(span: Span | None, documents: list[tuple[str, str]] = DOCUMENTS) -> str:
    assert span is not None
    return dict(documents)[span.doc_id][span.start : span.end]


def test_exact_quote_is_found_with_its_offsets() -> None:
    span = found("engineers found cracks in two of its piers")
    assert span is not None and span.exact and span.doc_id == "report"
    assert shown(span) == "engineers found cracks in two of its piers"


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        (
            "REPAIRS WILL COST 4 MILLION EUROS AND LAST UNTIL THE SPRING",
            "Repairs will cost 4 million euros and last until the\n   spring",
        ),
        (
            "repairs will cost 4 million euros and last until the spring of next year.",
            "Repairs will cost 4 million euros and last until the\n   spring of next year.",
        ),
        ("“Passengers may change their tickets”  free of charge", "Passengers may change their tickets free of charge"),
    ],
)
def test_case_space_and_quote_marks_do_not_matter(quote: str, text: str) -> None:
    span = found(quote)
    assert span is not None and not span.exact
    assert shown(span) == text


def test_near_verbatim_quote_is_found_and_a_paraphrase_is_not() -> None:
    span = found("Trafic is sent over the northern by-pass in the meantime.")
    assert span is not None and not span.exact
    assert shown(span).startswith("Traffic is sent over the northern bypass")
    assert found("Cars have to take a detour in the north while the work is going on.") is None


def test_ellipsis_gives_the_longest_piece() -> None:
    span = found("The bridge was closed in May ... Traffic is sent over the northern bypass in the meantime.")
    assert shown(span) == "Traffic is sent over the northern bypass in the meantime."


def test_short_quotes_and_rows_of_marks_are_dropped() -> None:
    dotted = [("contents", "Chapter one " + "." * 40 + " 7")]
    assert found("in two of its piers") is None
    assert found("." * 30, dotted) is None
    assert locate_quotes(["", "   "], DOCUMENTS, RULES) == []


def test_hint_decides_between_documents_and_first_occurrence_within_one() -> None:
    sentence = "The same sentence stands in both of them."
    both = [("a", f"{sentence} {sentence}"), ("b", sentence)]
    assert found(sentence, both) == Span(0, "a", 0, len(sentence), True)
    hinted = locate_quotes([sentence, sentence], both, RULES, ["b", None])
    assert [span.doc_id for span in hinted] == ["b", "a"]
    assert [span.quote_index for span in hinted] == [0, 1]


def test_folding_that_changes_lengths_keeps_offsets_right() -> None:
    text = "Vorher. Die STRASSE heißt „Große Weißgaſſe“, der Eﬀekt und İstanbul bleiben. Nachher."
    span = found("die straße HEISST 'Grosse Weissgasse', der effekt", [("d", text)])
    assert shown(span, [("d", text)]) == "Die STRASSE heißt „Große Weißgaſſe“, der Eﬀekt"
    decomposed = unicodedata.normalize("NFD", "Élan vital et hérédité, selon l'été de naguère")
    span = found("élan vital et hérédité, selon l’été", [("d", decomposed)])
    assert unicodedata.normalize("NFC", shown(span, [("d", decomposed)])) == "Élan vital et hérédité, selon l'été"


def test_right_to_left_and_unspaced_text() -> None:
    arabic = "القاهرة هي عاصمة جمهورية مصر العربية وأكبر مدنها."
    chinese = "北京是中华人民共和国的首都，也是全国的政治中心和文化中心。"
    assert shown(found("عاصمة  جمهورية مصر العربية", [("d", arabic)]), [("d", arabic)]) == "عاصمة جمهورية مصر العربية"
    assert shown(found("北京是中华人民共和国的首都, 也是全国的政治中心和文化", [("d", chinese)]), [("d", chinese)])


def test_marks_of_direction_move_no_offset() -> None:
    """U+202E turns what follows, U+200F leans what stands by it: both are characters of the text like any other."""
    text = "\u202eنص طويل من اليمين\u202c. The \u200fbridge was\u200f closed in May, שלום \u200fלכולם\u200f. End."
    bare = found("The bridge was closed in May, שלום", [("d", text)])
    assert shown(bare, [("d", text)]) == "The \u200fbridge was\u200f closed in May, שלום"
    marked = "\u202eنص طويل من اليمين\u202c"
    start, end = text.index("The"), text.index(" End")
    assert found(text[start:end], [("d", text)]) == Span(0, "d", start, end, True)
    assert found(marked + ". The", [("d", text)]) == Span(0, "d", 0, len(marked) + 5, True)


def test_a_megabyte_without_a_space_is_quick_and_its_offsets_are_right() -> None:
    text = "ab" * 500_000
    needle, place = "TheNeedleThatStandsOnlyOnceInIt", 700_001
    hiding = text[:place] + needle + text[place:]
    started = time.process_time()
    assert found("abababababababababababababababab", [("d", text)]) == Span(0, "d", 0, 32, True)
    assert found("xyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxy", [("d", text)]) is None
    grounding(text, [], [("d", text)])
    assert time.process_time() - started < 5
    assert found(needle, [("d", hiding)]) == Span(0, "d", place, place + len(needle), True)
    assert found(needle.upper(), [("d", hiding)]) == Span(0, "d", place, place + len(needle), False)


@given(texts, st.integers(0, 150), st.integers(20, 60))
@settings(max_examples=150, deadline=None)
def test_a_slice_is_found_exactly_where_str_find_says(text: str, start: int, length: int) -> None:
    quote = text[start : start + length].strip()
    span = found(quote, [("d", text)])
    if len(quote) < RULES.min_quote_chars or sum(map(str.isalnum, quote)) * 3 < RULES.min_quote_chars:
        assert span is None
    else:
        assert span == Span(0, "d", text.find(quote), text.find(quote) + len(quote), True)


@given(texts, texts)
@settings(max_examples=150, deadline=None)
def test_spans_lie_inside_the_text_and_exact_ones_equal_the_quote(quote: str, text: str) -> None:
    for changed in (quote, text[3:60].upper(), text[5:80].replace(" ", "")):
        for span in locate_quotes([changed], [("d", text)], RULES):
            assert 0 <= span.start < span.end <= len(text)
            if span.exact:
                assert text[span.start : span.end] == changed.strip()


def test_verbatim_and_framed_sentences_are_grounded_and_inventions_are_not() -> None:
    answer = (
        "Findings:\n\n"
        "- **Damage:** The bridge was closed in May after engineers found cracks in two of its piers.\n"
        "- According to the report, repairs will cost 4 million euros.\n"
        "- The mayor has resigned over the scandal surrounding the steel supplier.\n"
    )
    quotes = ["The bridge was closed in May after engineers found cracks", "Repairs will cost 4 million euros and last"]
    result = grounding(answer, locate_quotes(quotes, DOCUMENTS, RULES), DOCUMENTS)
    assert (result.sentences, result.grounded) == (3, 2)
    assert result.share == pytest.approx(2 / 3)
    assert result.document_shares == {"report": 1.0, "letter": 0.0}


def test_shares_show_how_evidence_is_spread_over_documents() -> None:
    answer = f"{REPORT.splitlines()[0]} {LETTER}"
    result = grounding(answer, [], DOCUMENTS)
    assert result.grounded == 3
    assert result.document_shares["letter"] == pytest.approx(2 / 3)
    same = [("a", LETTER), ("b", LETTER)]
    assert grounding(LETTER, [], same).document_shares == {"a": 0.5, "b": 0.5}


def test_headings_and_table_rules_are_not_sentences() -> None:
    table = f"### Result\n\n| Topic | Statement |\n|---|---|\n| Ferry | {LETTER.split('. ')[0]}. |\n"
    result = grounding(table, [], DOCUMENTS)
    assert result.grounded >= 1
    assert grounding("", [], DOCUMENTS) == Grounding(0, 0, 0.0, {"report": 0.0, "letter": 0.0})


@given(texts, texts)
@settings(max_examples=80, deadline=None)
def test_grounding_is_a_share_whatever_comes_in(response: str, text: str) -> None:
    result = grounding(response, locate_quotes([response], [("d", text)], RULES), [("d", text)])
    assert 0 <= result.grounded <= result.sentences
    assert 0.0 <= result.share <= 1.0
    assert sum(result.document_shares.values()) in (pytest.approx(0.0), pytest.approx(1.0))


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_how_accents_are_written_does_not_matter(form: str) -> None:
    """PDFs and file systems part letters from their accents; teachers write them together."""
    text = "Le résumé élémentaire précède l'étude détaillée. Nhà hàng mở cửa từ sáng đến tối."
    for reply in ("NFC", "NFD"):
        document = [("d", unicodedata.normalize(form, text))]
        response = unicodedata.normalize(reply, text)
        spans = locate_quotes([response], document, RULES)
        assert len(spans) == 1 and grounding(response, spans, document).share == 1.0


def test_words_of_scripts_with_vowel_signs_are_whole() -> None:
    """Parted at its signs, any Hindi sentence would share its consonants with any other."""
    document = "रेलवे स्टेशन सुबह पाँच बजे खुलता है। टिकट खिड़की रात दस बजे बंद होती है।"
    spans = locate_quotes(["रेलवे स्टेशन सुबह पाँच बजे खुलता है।"], [("d", document)], RULES)
    invented = "मधुमेह के रोगी को चीनी नहीं खानी चाहिए। कंप्यूटर की स्मृति बहुत तेज़ होती जा रही है।"
    assert grounding(invented, spans, [("d", document)]).share == 0.0
    assert grounding(document, spans, [("d", document)]).share == 1.0

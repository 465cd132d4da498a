"""Texts on which tokenizer engines are known to differ; every fast engine must pass them before it counts.

All of it is written for this purpose, nothing is taken from a corpus.
"""

from __future__ import annotations

SPECIALS = (
    *("<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|endofprompt|>"),
    *("<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|eot_id|>", "<s>", "</s>", "<unk>", "<pad>"),
    *("[CLS]", "[SEP]", "[MASK]", "[INST]", "<EOT>", "<META>", "<bos>", "<eos>", "<0x0A>", "▁", "Ġ"),
)
RUNS = (" ", "\n", "\t", "\r\n", "-", "=", "a", "A", "0", "語", "👍", "\u0301", " \n", "é", "ab", ".", "_", "\u3000")
LENGTHS = (2, 3, 7, 81, 1_000, 5_000)
PROSE = (
    "",
    " ",
    "Don't\n's and\n've, I'LL we'Re it'S ſ 'ſ ’s ''s",
    "1 12 123 1234 12345678901 ١٢٣ १२३ ①②③ Ⅷ 3.14 1,000,000 0x1F",
    "naïve café e\u0301 ﬁ Ａｂｃ ½ µm Å Ω K ß ẞ İ ı",
    "日本語のテキストと漢字、かな。中文没有空格。한국어 문장입니다. ภาษาไทยไม่มีช่องว่าง",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇩🇪 👍🏽 ☺️ \u200b\u200d\ufeff\u00ad\u2060",
    "עברית עם \u202eסימנים\u202c والعربية مع تشكيل مُحَمَّد",
    "\r\n\t\x0b\x0c\x85\u2028\u2029\u00a0\u3000 \x00\x01\x7f\ue000\U0010ffff",
    "def f(x):\n\treturn {'a': [1, 2], \"b\": x**2}  # note\n\n\n    if x:\r\n        pass\n",
    "https://example.org/a_b-c?d=e%20f&g=h#i user@example.org C:\\path\\file.txt",
    "\\frac{a}{b} $x^2$ {{ template }} {% if %} <html>&nbsp;</html> ```json\n{}\n```",
    "CamelCaseWord snake_case_word kebab-case-word SHOUTING mIxEd word   spaces    here \n\n  there",
    "  leading and trailing  ",
    "a\u0000b c\u0000",
)


def adversarial_texts() -> list[str]:
    """A few hundred short texts and some long runs (about 300 KB in all)."""
    specials = [*SPECIALS, "".join(SPECIALS), " ".join(SPECIALS), "x" + "x\n".join(SPECIALS) + "x"]
    runs = [before + unit * n + after for unit in RUNS for n in LENGTHS for before, after in (("", ""), ("x", "y"))]
    glued = [left + right for left in PROSE[2:] for right in SPECIALS[:3]]
    return [*PROSE, *specials, *glued, *runs]

"""Settings of the functions that run on executors.

Only types and defaults live here: no file is read and no environment variable is looked at.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator


class Section(BaseModel):
    """A frozen group of settings; an unknown key is an error, never a silent typo."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# What a teacher writes into a field that has no value; replies and the graph drop it.
NOTHINGS = frozenset({"", "none", "n/a", "na", "null", "unknown", "not applicable", "not specified"})

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class TokenizerSettings(Section):
    """Which tokenizer counts, and which engine does the counting."""

    name: str = "embedded"  # "embedded", a Hugging Face id, or a folder / tokenizer.json path
    revision: str = "main"
    engine: Literal["auto", "fastokens", "kitoken", "tiktoken", "hf"] = "auto"
    parity_documents: Positive = 64  # texts on which a fast engine must equal the reference


class FilterSettings(Section):
    """Length and hygiene rules for conversations and documents (WildLong, section 3)."""

    count: Literal["conversation", "user_turn"] = "conversation"
    min_conversation_tokens: Positive = 2_000  # kept when strictly longer
    min_document_tokens: Positive = 2_000
    max_document_tokens: Positive = 30_000
    max_pair_document_tokens: Positive = 20_000
    languages: tuple[str, ...] = ()  # ISO 639-1 codes or English names; empty keeps all
    drop_toxic: bool = True
    drop_redacted: bool = False
    near_duplicates: bool = True


class MinhashSettings(Section):
    """MinHash-LSH for near duplicates: word shingles, banded signatures."""

    permutations: Positive = 128
    bands: Positive = 16
    shingle_words: Positive = 5
    threshold: Share = 0.8
    seed: Count = 1


class MetaSettings(Section):
    """How much of a text the teacher is shown when it describes or labels it (characters), and how much it may say."""

    user_chars: Positive = 24_000
    assistant_chars: Positive = 8_000
    label_chars: Positive = 12_000
    max_values: Positive = 256  # over all fields of one reply; a longer one ran away and would link all to all


class EmbedderSettings(Section):
    """Text encoder: mean of the last hidden state over evenly spaced chunks."""

    name: str = "embedded"  # "embedded" is MiniLM-L6 from an installed package
    revision: str = "main"
    chunks: Positive = 4
    chunk_tokens: Positive = 256
    batch_tokens: Positive = 16_384
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"


class InfluenceSettings(Section):
    """How samples are measured by two homologous models (GATEAU, arXiv 2410.15633, sections 3.1 and 3.2)."""

    short_model: str = "embedded"  # A; "embedded" is the tiny pair, else a Hugging Face id or a folder
    short_revision: str = "main"
    long_model: str = "embedded"  # B
    long_revision: str = "main"
    short_context: Literal["window", "full"] = "window"  # what A reads: its own window, or (the paper) what B reads
    short_window: Count = 0  # tokens A reads at a time under `window`; 0 is its own window
    short_rope_factor: Annotated[float, Field(gt=0)] = 1.0  # factor on A's RoPE base; the paper's is 200 under `full`
    template: Literal["gateau", "plain", "chat"] = "gateau"
    segment_tokens: Positive = 128
    max_tokens: Positive = 65_536  # longest sequence B reads; the context loses its head
    batch_tokens: Positive = 16_384  # segments of one forward, in tokens
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on a GPU, float32 on a CPU

    @property
    def name(self) -> str:
        """The model that errors about the device speak of."""
        return self.long_model


class TypeSettings(Section):
    """Document types: K-Means over the free-form types, named by the teacher."""

    k: Positive = 10
    seed: Count = 7
    max_fit_rows: Positive = 20_000  # of the conversations, by hash: their vectors are fitted on the driver
    examples_per_cluster: Positive = 12
    drift_similarity: Share = 0.35  # below it a new conversation counts as drifted


class ClassifierSettings(Section):
    """Random forest over document vectors, trained on teacher labels."""

    labels: Positive = 20_000  # learnt from, at most; up to twice as many are asked for
    trees: Positive = 200
    max_depth: Positive = 24
    held_out: Share = 0.2
    floor: Share = 0.90  # below it, with at least `floor_rows` held-out rows, the run stops
    floor_rows: Positive = 200
    seed: Count = 11


class EvidenceSettings(Section):
    """How quotes are located, when an answer counts as grounded, and whether the teacher is asked what it needs."""

    min_quote_chars: Positive = 20
    fuzzy_ratio: Share = 0.92  # similarity a near-verbatim quote needs
    min_grounded_share: Share = 0.5  # answer sentences with evidence
    min_document_share: Share = 0.2  # each document's share of evidence in a pair
    second_draw: bool = False  # an answer that fails these gates is asked for once more, with the next seed
    answerability: bool = False  # one more call behind each answer: can it be answered with the documents, or without?


class LlmSettings(Section):
    """The teacher, and how it is called."""

    teacher: Literal["offline", "openai", "openai_batch"] = "offline"  # the last by batch files, at half the price
    base_url: str = "https://api.openai.com/v1"
    query: dict[str, str] = Field(default_factory=dict)  # added to every address, such as Azure's api-version
    model: str = "offline-extractive-1"
    api_key_env: str = "OPENAI_API_KEY"  # the variable's name, never the key
    key_header: str = "Authorization"  # the key follows "Bearer" there, and stands alone in any other, such as api-key
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.7
    max_tokens: Positive = 4_096
    raised_max_tokens: Count = 0  # a reply cut off at max_tokens is asked for once more with this; 0 rejects it
    context_tokens: Positive = 128_000  # prompt + reply must fit
    seed: Count | None = None
    json_mode: Literal["schema", "object_schema", "object", "prompt", "auto"] = "schema"  # auto: a few calls tell
    cache_key: bool = True  # calls on a document carry its id as prompt_cache_key, where the server takes it
    concurrency: Positive = 32  # calls in flight per Spark task, at most
    requests_per_minute: Count = 0  # of the whole run; 0: what the server's headers tell
    tokens_per_minute: Count = 0
    coordinator_port: Count = 0  # where the driver keeps the limits of all tasks; 0 is any free port
    rate_window_s: Annotated[float, Field(gt=0)] = 60.0  # the minute of the two limits
    timeout_s: Annotated[float, Field(gt=0)] = 300.0
    max_error_share: Share = 0.5  # so many of a stage's last hundred tries failed: it stops; 1 never stops
    budget_calls: Count = 0  # requests that a run may send; 0 is without limit
    budget_usd: Annotated[float, Field(ge=0)] = 0.0
    batch_requests: Positive = 50_000  # of a batch file, at most
    batch_bytes: Positive = 200_000_000
    batch_tokens: Positive | None = None  # of its prompts, as estimated; None is without limit
    batch_poll_s: Annotated[float, Field(gt=0)] = 30.0  # between two looks at what is outstanding
    batch_wait_s: Count = 86_400  # for a stage's batches; 0 looks once, and the next run collects
    price_input: Annotated[float, Field(ge=0)] | None = None  # USD per million tokens; None looks the model up
    price_output: Annotated[float, Field(ge=0)] | None = None
    price_cached: Annotated[float, Field(ge=0)] | None = None
    extra_body: dict[str, JsonValue] = Field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = Field(default_factory=dict)  # by stage, what is different for its calls

    @model_validator(mode="after")
    def _stages_are_settings(self) -> LlmSettings:
        for name, changes in self.stages.items():
            whole = {"stages", "budget_calls", "budget_usd"} & changes.keys()
            if whole:
                raise ValueError(f"stages.{name}: {', '.join(sorted(whole))} can only be set for the whole run")
            try:
                self.of(name)
            except ValidationError as error:
                faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
                raise ValueError(f"stages.{name}: {'; '.join(faults)}") from None
        return self

    @model_validator(mode="after")
    def _one_limit_per_model(self) -> LlmSettings:
        """A server counts by endpoint and model, whichever stage asks."""
        limits = {(self.base_url, self.model): ("llm", self._limits())}
        for name in self.stages:
            llm = self.of(name)
            other, known = limits.setdefault((llm.base_url, llm.model), (f"stages.{name}", llm._limits()))
            if llm._limits() != known:
                raise ValueError(
                    f"stages.{name}: requests_per_minute, tokens_per_minute and rate_window_s are {llm._limits()} here "
                    f"and {known} in {other}, for one model at one endpoint; they share one limit, so give it once"
                )
        return self

    def _limits(self) -> tuple[int, int, float]:
        return self.requests_per_minute, self.tokens_per_minute, self.rate_window_s

    def of(self, stage: str) -> LlmSettings:
        """The settings for the calls of one stage."""
        return LlmSettings.model_validate({**self.model_dump(exclude={"stages"}), **self.stages.get(stage, {})})

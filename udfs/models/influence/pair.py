"""Makes the scorer of a pair of models: loaded once per process and device, checked to be siblings.

It refuses to know samples; what a plan may ask without torch is in support.py.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import torch

from udfs.models.devices import fit_threads, pick_device
from udfs.models.errors import ModelUnavailable
from udfs.models.files import ModelFiles
from udfs.models.influence.causal import load_causal
from udfs.models.influence.measure import Scorer
from udfs.models.influence.recipe import make_recipe
from udfs.models.influence.support import DECIDES_PIECES, pair_files, refuse_strangers
from udfs.models.loading import LOCAL, unreadable
from udfs.settings import InfluenceSettings

_scorers: dict[tuple[str, str], Scorer] = {}
_loading = threading.Lock()


def load_scorer(settings: InfluenceSettings) -> Scorer:
    """The scorer of these settings; one pair is kept per process. Raises ModelUnavailable."""
    fit_threads()
    device = pick_device(settings)
    key = (settings.model_dump_json(), str(device))
    with _loading:
        if key not in _scorers:
            _scorers.clear()  # before the next pair is loaded: two pairs may not fit
            _scorers[key] = make_scorer(settings, device)
        return _scorers[key]


def make_scorer(settings: InfluenceSettings, device: torch.device) -> Scorer:
    """Load both models and the tokenizer they share. Raises ModelUnavailable."""
    short_files, long_files = pair_files(settings)
    dtype = torch.bfloat16 if _half(settings, device) else torch.float32
    tokenizer = _shared_tokenizer(short_files, long_files)
    try:
        recipe = make_recipe(tokenizer, settings.template)
    except ValueError as fault:
        raise unreadable(long_files, fault) from fault
    long = load_causal(long_files, device, dtype, settings.max_tokens)
    full = settings.short_context == "full"
    longest = long.window if full else settings.short_window or settings.max_tokens
    factor = settings.short_rope_factor
    short = load_causal(short_files, device, dtype, longest, beyond_window=full, rope_factor=factor)
    refuse_strangers(short_files, short.model.config.to_dict(), long.model.config.to_dict())
    return Scorer(
        recipe=recipe,
        short=short,
        long=long,
        short_window=None if full else short.window,
        segment_tokens=settings.segment_tokens,
        batch_tokens=settings.batch_tokens,
    )


def _half(settings: InfluenceSettings, device: torch.device) -> bool:
    return settings.dtype == "bfloat16" or (settings.dtype == "auto" and device.type == "cuda")


def _shared_tokenizer(short: ModelFiles, long: ModelFiles) -> Any:
    """The tokenizer of the long model, which is the short one's too. Raises ModelUnavailable."""
    from transformers import AutoTokenizer

    found = []
    for files in (short, long):
        try:
            found.append(AutoTokenizer.from_pretrained(files.folder, **LOCAL))
        except Exception as fault:  # tokenizers and transformers share no base class
            raise unreadable(files, fault) from fault
    if _pieces(found[0]) != _pieces(found[1]):
        why = "it is not homologous to the long model: its tokenizer is another"
        raise ModelUnavailable(short.name, f"the folder {short.folder}", why, "Name two siblings.")
    return found[1]


def _pieces(tokenizer: Any) -> Any:
    """What decides how a text is cut: vocabulary and merges, or the vocabulary where that is all there is."""
    engine = getattr(tokenizer, "backend_tokenizer", None)
    if engine is None:
        return tokenizer.get_vocab()
    whole = json.loads(engine.to_str())
    return [whole[part] for part in DECIDES_PIECES]

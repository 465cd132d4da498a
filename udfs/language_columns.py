"""The language of a record as a column: what the source states, else what the text looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from udfs.language import UNKNOWN, language, normalise

if TYPE_CHECKING:
    from pyspark.sql import Column


def language_code(stated: str, text: str) -> Column:
    """ISO 639-1 code of a row ("und" when neither helps); only texts without a stated language are looked at."""
    from pyspark.sql import functions as F

    told = F.udf(_normalise_or_null, "string")(stated)
    known = F.when(told != UNKNOWN, told)
    return F.coalesce(known, language()(F.when(known.isNull(), F.col(text))), F.lit(UNKNOWN))


def _normalise_or_null(name: str | None) -> str | None:
    return None if name is None else normalise(name)

"""The language of a record as a column: what the source states, else what the text looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from udfs.language import UNKNOWN, language, normalise

if TYPE_CHECKING:
    from pyspark.sql import Column


def language_code(stated: str, text: str) -> Column:
    """ISO 639-1 code of a row ("und" when neither helps); only texts without a stated language are looked at."""
    from pyspark.sql import functions as F

    # A lambda: Spark takes type hints of a plain function for an attempt at an Arrow UDF, and warns.
    told = F.udf(lambda name: None if name is None else normalise(name), "string", useArrow=True)(stated)
    known = F.when(told != UNKNOWN, told)
    return F.coalesce(known, language()(F.when(known.isNull(), F.col(text))), F.lit(UNKNOWN))

"""Asks an endpoint for its models, which costs nothing: is it there, and does it take our key?

It imports no client library, so that a run without a teacher behind HTTP starts no slower.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from typing import Any

from udfs.llm.addressing import address, key_headers
from udfs.llm.teacher import ErrorKind, Reply, failed
from udfs.settings import LlmSettings

PROBE_S = 10.0


class NotFollowed(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other: our key is for the host that it was given for."""

    def redirect_request(self, *told: Any) -> None:
        """Nothing is asked instead."""


def probe(settings: LlmSettings) -> Reply | None:
    """The failed reply (connection or authentication) of an endpoint that cannot be used, else None.

    Any other answer will do: not every server lists its models.
    """
    key = os.environ.get(settings.api_key_env) if settings.api_key_env else None
    headers = key_headers(settings.key_header, key) if key else {}
    try:
        asked = urllib.request.Request(address(settings.base_url, "models", settings.query), headers=headers)
        with urllib.request.build_opener(NotFollowed).open(asked, timeout=PROBE_S):
            return None
    except urllib.error.HTTPError as error:
        refused = error.code in (401, 403)
        return failed(ErrorKind.AUTHENTICATION, f"HTTP {error.code}: {error.reason}") if refused else None
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        return failed(ErrorKind.CONNECTION, str(getattr(error, "reason", error)))

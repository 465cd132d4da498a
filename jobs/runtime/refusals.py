"""Why a service ended the calls of a stage, told in a sentence with what to do about it."""

from __future__ import annotations

from udfs.llm.teacher import ErrorKind
from udfs.llm.teachers import BATCH
from udfs.settings import LlmSettings


def refusal(stage: str, llm: LlmSettings, kind: str, error: str) -> str:
    """Why the calls of a stage were stopped, and what to do about it."""
    if llm.teacher == "offline":
        return f"the offline teacher failed at stage {stage} ({kind}): {error}. It needs no service: report it."
    mends = {
        ErrorKind.AUTHENTICATION: f"check the environment variable {llm.api_key_env}",
        ErrorKind.FORBIDDEN: f"check what the key in {llm.api_key_env} may do, and any firewall before the service",
        ErrorKind.QUOTA: "check your quota and your bill",
        ErrorKind.NOT_FOUND: f"check llm.base_url and llm.model ({llm.model})",
        ErrorKind.CERTIFICATE: "check llm.base_url, or name your authority's certificates in SSL_CERT_FILE",
        ErrorKind.NOT_ADMITTED: "let executors reach the driver (spark.driver.host) at llm.coordinator_port",
        ErrorKind.TOO_MANY_ERRORS: "mend what the errors name, or raise llm.max_error_share",
    }
    if llm.teacher == BATCH:
        mends[ErrorKind.NOT_FOUND] += (
            ", and that the service takes batches (llm.teacher: openai needs none); `jobs/ledger.py "
        )
        mends[ErrorKind.NOT_FOUND] += "batches --cancel` gives up those it does not know any more"
    mend = mends.get(ErrorKind(kind), "check the llm settings against what this server takes")
    return (
        f"the service at {llm.base_url} stopped stage {stage} ({kind}): {error}. No further call was sent and nothing "
        f"that was answered is lost; {mend}, then run again."
    )

"""Uploads an exported folder to the Hugging Face Hub. Nothing is sent unless this is called.

It sends files as they are; what is in them was written before.
"""

from __future__ import annotations

import os
from pathlib import Path

from jobs.runtime.errors import LongloomError, SettingsFault, said


def unpushable(folder: str, repository: str, token_env: str) -> list[str]:
    """Why nothing could be pushed, known before there is anything to push; the folder need not be there yet."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, not marked as such

    faults = []
    if not os.environ.get(token_env):
        faults.append(f"--push {repository}: the environment variable {token_env} is not set")
    if "://" in folder:
        faults.append(f"--push {repository}: {folder} is no folder of this machine; export to one first")
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        faults.append(f"--push {repository}: {' '.join(str(error).split())}")
    return faults


def push(folder: str, repository: str, token_env: str) -> str:
    """Create `owner/name` as a private dataset where it is missing, upload the folder, and return the address.

    A public one is refused: what was uploaded to it could not be taken back.

    Raises SettingsFault before anything is sent, and LongloomError where the Hub refuses or is not reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import httpx  # the client it speaks with; no error of a connection is an OSError there

    faults = unpushable(folder, repository, token_env)
    if not faults and not Path(folder).is_dir():
        faults = [f"--push {repository}: {folder} is no folder of this machine; export to one first"]
    if faults:
        raise SettingsFault(faults)
    hub = HfApi(token=os.environ[token_env])
    try:
        address = hub.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        if not hub.repo_info(repository, repo_type="dataset").private:
            why = "it is there already and public, so that everybody could read these rows at once"
            raise SettingsFault([f"--push {repository}: {why}; make it private, or name another. Nothing was sent"])
        hub.upload_folder(folder_path=folder, repo_id=repository, repo_type="dataset")
    except (httpx.HTTPError, httpx.InvalidURL, HFValidationError, OSError) as error:
        raise LongloomError(f"--push {repository}: {said(error)}; what was exported stands in {folder}") from None
    return str(address)

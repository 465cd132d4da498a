"""Uploads an exported folder to the Hugging Face Hub. Nothing is sent unless this is called.

It sends files as they are; what is in them was written before.
"""

from __future__ import annotations

import os
from pathlib import Path

from jobs.runtime.errors import LongloomError, SettingsFault


def push(folder: str, repository: str, token_env: str) -> str:
    """Create `owner/name` as a private dataset where it is missing, upload the folder, and return the address.

    A public one is refused: what was uploaded to it could not be taken back.

    Raises SettingsFault before anything is sent, and LongloomError where the Hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    token = os.environ.get(token_env)
    if not token:
        raise SettingsFault([f"--push {repository}: the environment variable {token_env} is not set"])
    if "://" in folder or not Path(folder).is_dir():
        raise SettingsFault([f"--push {repository}: {folder} is no folder of this machine; export to one first"])
    hub = HfApi(token=token)
    try:
        address = hub.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        if not hub.repo_info(repository, repo_type="dataset").private:
            why = "it is there already and public, so that everybody could read these rows at once"
            raise SettingsFault([f"--push {repository}: {why}; make it private, or name another. Nothing was sent"])
        hub.upload_folder(folder_path=folder, repo_id=repository, repo_type="dataset")
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise LongloomError(f"--push {repository}: {' '.join(str(error).split())}") from None
    return str(address)

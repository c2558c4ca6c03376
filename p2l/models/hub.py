"""Push a checkpoint folder to the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from p2l.errors import CheckpointError


def push_checkpoint(folder: str | Path, repo_id: str, *, private: bool = True, api: HfApi | None = None) -> str:
    """Upload a checkpoint folder with its model card; return the address of the commit.

    Creates the repository if it is missing. CheckpointError if the folder is not a checkpoint, or the hub cannot be
    reached or rejects it.
    """
    folder = Path(folder)
    if not (folder / "model_list.json").exists():
        raise CheckpointError(f"{folder} is not a P2L checkpoint folder: it has no model_list.json")
    api = api or HfApi()
    try:
        api.create_repo(repo_id, repo_type="model", private=private, exist_ok=True)
        commit = api.upload_folder(folder_path=str(folder), repo_id=repo_id, repo_type="model")
    except (OSError, HfHubHTTPError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(f"could not push {folder} to {repo_id}: {reason} (logged in? 'hf auth login')") from error
    return str(commit.commit_url)

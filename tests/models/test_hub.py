from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi

from p2l.errors import CheckpointError
from p2l.models import push_checkpoint


class FakeHub(HfApi):
    """Repositories in memory, with the two calls of HfApi that a push makes."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.failure = failure
        self.repos: dict[str, bool] = {}
        self.uploads: list[tuple[str, str]] = []

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> None:
        if self.failure:
            raise self.failure
        assert repo_type == "model" and exist_ok
        self.repos.setdefault(repo_id, private)

    def upload_folder(self, *, folder_path: str, repo_id: str, repo_type: str) -> SimpleNamespace:
        assert repo_id in self.repos and repo_type == "model"
        self.uploads.append((folder_path, repo_id))
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/{len(self.uploads)}")


def test_a_push_makes_a_private_repository_and_uploads_the_folder(golden: Path) -> None:
    hub, folder = FakeHub(), golden / "qwen2_bt"
    assert push_checkpoint(folder, "me/p2l", api=hub) == "https://hub/me/p2l/commit/1"
    assert push_checkpoint(folder, "me/p2l", api=hub, private=False) == "https://hub/me/p2l/commit/2"
    assert hub.repos == {"me/p2l": True}  # it stays what it was
    assert hub.uploads == [(str(folder), "me/p2l")] * 2


def test_a_refusal_is_one_line(golden: Path) -> None:
    hub = FakeHub(OSError("403 Forbidden\nRequest-ID: 7"))
    with pytest.raises(
        CheckpointError, match=r"could not push .*qwen2_bt to me/p2l: 403 Forbidden \(logged in\?"
    ) as error:
        push_checkpoint(golden / "qwen2_bt", "me/p2l", api=hub)
    assert "\n" not in str(error.value)


def test_only_checkpoints_are_pushed(tmp_path: Path) -> None:
    hub = FakeHub()
    with pytest.raises(CheckpointError, match="is not a P2L checkpoint folder: it has no model_list.json"):
        push_checkpoint(tmp_path, "me/p2l", api=hub)
    assert not hub.repos


def test_without_network_the_push_says_so(golden: Path) -> None:
    with pytest.raises(CheckpointError, match="could not push"):
        push_checkpoint(golden / "qwen2_bt", "me/p2l")

"""Write the results of an evaluation: the published JSON, plots, and an upload to the hub."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from p2l.errors import CheckpointError, ConfigError
from p2l.evaluation.evaluation_plots import Entries, draw_plots
from p2l.files import whole_file, write_whole

log = logging.getLogger(__name__)

DIGITS = 4


@dataclass(frozen=True)
class EvaluationOutput:
    """Where results go: ``<name>.json`` and plots in a local folder, and JSON in a hub model repository.

    Attributes:
        output_file_name: without ".json"; one for each source file.
    """

    output_dir: str | None
    hf_output_dir: str | None
    output_file_name: str | Sequence[str]

    def __post_init__(self) -> None:
        if self.output_dir is None and self.hf_output_dir is None:
            raise ConfigError("give output_dir=<folder>, hf_output_dir=<hub repository>, or both")
        if len(set(self.names)) < len(self.names):
            raise ConfigError(f"output_file_name has a name twice: {', '.join(self.names)}")

    @property
    def names(self) -> list[str]:
        return [self.output_file_name] if isinstance(self.output_file_name, str) else list(self.output_file_name)

    def save(self, results: dict[str, Any], name: str, api: HfApi | None = None) -> None:
        """Write and upload; numbers are rounded to ``DIGITS`` digits, as published."""
        text = json.dumps(rounded(results), indent=4, ensure_ascii=False, allow_nan=False)
        if self.output_dir is not None:
            path = Path(self.output_dir) / f"{name}.json"
            with write_whole(path) as file:
                file.write(text)
            log.info("results: %s", path)
            save_plots(results["models"], path.parent, name, dpi=130)
        if self.hf_output_dir is not None:
            _upload(text, f"{name}.json", self.hf_output_dir, api or HfApi())


def save_plots(models: Entries, folder: Path, name: str, *, dpi: int) -> dict[str, Path]:
    """Write the plots of results as ``<name>_<plot>.png``; return their paths by plot."""
    paths = {}
    for plot, figure in draw_plots(models).items():
        paths[plot] = folder / f"{name}_{plot}.png"
        with whole_file(paths[plot]) as part:
            figure.savefig(part, format="png", dpi=dpi)
    return paths


def rounded(value: Any) -> Any:
    """Return nested results with every float rounded."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return round(value, DIGITS) + 0.0 if isinstance(value, float) else value  # no -0.0


def _upload(text: str, name: str, repo_id: str, api: HfApi) -> None:
    try:
        api.create_repo(repo_id, repo_type="model", private=True, exist_ok=True)
        api.upload_file(path_or_fileobj=text.encode(), path_in_repo=name, repo_id=repo_id, repo_type="model")
    except (OSError, HfHubHTTPError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(f"could not upload {name} to {repo_id}: {reason} (logged in? 'hf auth login')") from error

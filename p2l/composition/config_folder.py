"""Where the configuration files are, and the line that introduces each command in them."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def config_folder() -> Path:
    """Return ``p2l/conf`` of an installed wheel, or ``conf`` of the repository."""
    installed = PACKAGE / "conf"
    return installed if installed.is_dir() else PACKAGE.parent / "conf"


def introduction(command: str) -> tuple[str, str]:
    """Return what a command does, and an example of its use: the first line of ``conf/<command>.yaml``."""
    with (config_folder() / f"{command}.yaml").open(encoding="utf-8") as file:
        summary, _, example = file.readline().removeprefix("# ").partition(":")
    return summary.strip(), example.strip()

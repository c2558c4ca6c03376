"""Load the router's configuration from a YAML file."""

from pathlib import Path

import yaml

from p2l.errors import ConfigError
from p2l.serving.router.config.read_section import read_section
from p2l.serving.router.config.server_config import ServerConfig


def load_config(path: str | Path) -> ServerConfig:
    """Read and check a file; ConfigError names the key that is wrong."""
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except Exception as error:  # YAMLError, or what int, float and datetime raise for an impossible value
        mark = getattr(error, "problem_mark", None)  # the text of the error quotes lines, which may hold keys
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"the configuration {path} is not YAML{where}") from None
    return read_section(ServerConfig, raw, str(path))

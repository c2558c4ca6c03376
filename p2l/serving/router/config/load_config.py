"""Load the router's configuration from a YAML file."""

from pathlib import Path

from p2l.errors import ConfigError
from p2l.serving.router.config.fill_in_prices import fill_in_prices
from p2l.serving.router.config.read_section import Place, read_section
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.config.strict_yaml import DuplicateNameError, load_yaml


def load_config(path: str | Path) -> ServerConfig:
    """Read and check a file; ConfigError names the key that is wrong."""
    try:
        raw = load_yaml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except Exception as error:  # YAMLError, or what int, float and datetime raise for an impossible value
        mark = getattr(error, "problem_mark", None)  # the text of the error quotes lines, which may hold keys
        where = f", line {mark.line + 1}" if mark is not None else ""
        if isinstance(error, DuplicateNameError):
            raise ConfigError(f"{path}{where}: {error.problem}; remove one of the two") from None
        raise ConfigError(f"the configuration {path} is not YAML{where}") from None
    if isinstance(raw, dict):  # x-...: for anchors that other sections refer to
        for name in [name for name in raw if str(name).startswith("x-")]:
            del raw[name]
    place = Place(str(path))
    return read_section(ServerConfig, fill_in_prices(raw, place), place)

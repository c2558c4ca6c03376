"""A configuration with what is derived from it once."""

from dataclasses import dataclass
from importlib.util import find_spec

from p2l.errors import ConfigError
from p2l.routing.cost_optimizer import Optimizer
from p2l.serving.http.api_keys import ApiKeys
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.config.router_options import DEFAULT_KEY, RouterOptions
from p2l.serving.router.config.server_config import ServerConfig


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The configuration of the moment and its client keys. A request keeps the snapshot it started with."""

    config: ServerConfig
    keys: ApiKeys[KeyConfig]

    @property
    def is_open(self) -> bool:
        """Whether the published default key is accepted, so that anybody may use the router."""
        return self.keys.owner(DEFAULT_KEY.encode()) is not None

    @classmethod
    def load(cls, options: RouterOptions) -> "Snapshot":
        """Read and check the file; ConfigError if it cannot be served."""
        return cls.of(load_config(options.config), options.api_key, options.cost_optimizer)

    @classmethod
    def of(cls, config: ServerConfig, api_key: str, optimizer: Optimizer) -> "Snapshot":
        """Check a configuration against the options; ConfigError if it cannot be served."""
        if config.shrinkage is not None:
            config.shrinkage.check(optimizer, alike=config.router.opponents is None)
        uses_litellm = any(model.type == "litellm" for model in config.model_configs.values())
        if uses_litellm and find_spec("litellm") is None:
            raise ConfigError("a model of type litellm needs LiteLLM: pip install litellm")
        # the published default key is no secret: it must not stay valid beside real ones
        has_option_key = not config.keys or api_key != DEFAULT_KEY
        if has_option_key and any(key.name == "default" for key in config.keys):
            raise ConfigError("keys: the name 'default' is that of --api-key")
        keys = (*config.keys, *((KeyConfig("default", api_key),) if has_option_key else ()))
        return cls(config, ApiKeys({key.key: key for key in keys}))

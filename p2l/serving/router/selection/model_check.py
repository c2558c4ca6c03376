"""Check at the start that the P2L model has what the configuration asks for: predicted costs, a posterior."""

from contextlib import suppress
from pathlib import Path

from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.selection.prompt_scorer import make_scorer
from p2l.serving.router.selection.ranked_models import RankedModels, check_costs, check_posterior
from p2l.serving.router.selection.score_cache import ScoreCache
from p2l.serving.router.upstream.client import UpstreamClient
from p2l.serving.router.upstream_error import UpstreamError


async def check_model(options: RouterOptions, config: ServerConfig) -> None:
    """Raise ConfigError if predicted costs are missing or in another unit, or if a risk is set without a posterior.

    Passes if the endpoint cannot be reached.
    """
    if options.router_model_path is not None:
        _check_checkpoint(options.router_model_path, options, config)
        return
    check_posterior(config, None)
    if not config.predicted:
        return
    client = UpstreamClient()
    try:
        scorer = make_scorer(
            options.router_type,
            client,
            url=options.router_model_endpoint,
            key=options.router_api_key,
            path=None,
            seed=None,
            cache=ScoreCache(0),
        )
        with suppress(UpstreamError):
            await scorer.models()
            check_costs(config, scorer.cost_facts)
    finally:
        await client.close()


def _check_checkpoint(path: str, options: RouterOptions, config: ServerConfig) -> None:
    from p2l.models.backbone import local_folder  # with the packages of models
    from p2l.models.checkpoint_reader import load_head

    part = load_head(Path(local_folder(path)), name=path)
    facts = None if part.head.cost_head is None else part.head.cost_head.facts(part.models)
    posterior = None if part.head.posterior_head is None else part.head.posterior_head.posterior
    RankedModels(config, tuple(part.models), part.head.family, options.cost_optimizer, facts, posterior)

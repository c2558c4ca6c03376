"""Check at the start that the P2L model predicts the costs that the configuration asks for."""

from contextlib import suppress
from pathlib import Path

from p2l.cost_facts import CostFacts
from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.selection.prompt_scorer import make_scorer
from p2l.serving.router.selection.ranked_models import check_costs
from p2l.serving.router.selection.score_cache import ScoreCache
from p2l.serving.router.upstream.client import UpstreamClient
from p2l.serving.router.upstream_error import UpstreamError


async def check_predicted_costs(options: RouterOptions, config: ServerConfig) -> None:
    """Raise ConfigError if predicted costs are missing or in another unit; pass if the endpoint cannot be reached."""
    if not config.predicted:
        return
    if options.router_model_path is not None:
        check_costs(config, _facts_of_checkpoint(options.router_model_path))
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


def _facts_of_checkpoint(path: str) -> CostFacts | None:
    from p2l.models.backbone import local_folder  # with the packages of models
    from p2l.models.checkpoint_reader import load_head

    part = load_head(Path(local_folder(path)), name=path)
    return None if part.head.cost_head is None else part.head.cost_head.facts(part.models)

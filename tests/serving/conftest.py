"""Predictors, services and clients on a tiny checkpoint."""

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest

from p2l.models import Checkpoint
from p2l.models.predictor import Predictor
from p2l.serving.endpoint.endpoint_app import create_app
from p2l.serving.endpoint.scoring_service import ScoringService

PROMPTS = [
    "hi",
    "a longer prompt " * 5,
    ["one", "two"],
    "",
    "hi",
    "mid length",
    "法国的首都是哪里?",
    "ends with <|cls|>",
]


@pytest.fixture
def predictor(tiny_checkpoint: Checkpoint) -> Predictor:
    return Predictor(tiny_checkpoint)


@pytest.fixture
def service(predictor: Predictor) -> Iterator[ScoringService]:
    """Ready to rank."""
    service = ScoringService()
    service.start(predictor)
    yield service
    service.close()


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(service: ScoringService) -> Ask:
    """One request to the app, without a key: ``ask("POST", "/predict", json=...)``."""
    app = create_app(service)

    def ask(method: str, path: str, **options: object) -> httpx.Response:
        return asyncio.run(request(app, method, path, **options))

    return ask


async def request(app: object, method: str, path: str, **options: object) -> httpx.Response:
    """One request to an app, in this process."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.request(method, path, **options)

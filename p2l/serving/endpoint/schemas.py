"""Schemas of requests and responses, with examples; the OpenAPI document is made from them."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from p2l.cost_facts import CostFacts


def _without_nul(turn: str) -> str:
    if "\0" in turn:
        raise ValueError("the text contains a NUL character; remove it")
    return turn


Turn = Annotated[str, AfterValidator(_without_nul)]
Turns = Annotated[list[Turn], Field(min_length=1, description="The user's turns of one conversation, oldest first.")]
Pair = tuple[str, str]


def _with_text(prompt: str | list[str]) -> str | list[str]:
    if not any(turn.strip() for turn in ([prompt] if isinstance(prompt, str) else prompt)):
        raise ValueError("the prompt has no text")
    return prompt


class Wire(BaseModel):
    """A request or response; unknown fields are ignored, as published."""

    model_config = ConfigDict(protected_namespaces=())


class PredictRequest(Wire):
    """One conversation."""

    prompt: Annotated[Turns, Field(examples=[["hi!", "what's 1+1?"]])]


class PredictResponse(Wire):
    """Its leaderboard: coefficient i (in nats) is that of model i of ``/models``."""

    coefs: Annotated[list[float], Field(examples=[[0.62, -0.18, 1.07]])]
    eta: Annotated[float | None, Field(description="The tie parameter; null in a family without one.", examples=[0.1])]
    costs: Annotated[
        list[float | None] | None,
        Field(
            description="Not in the published form: the expected cost of each model's answer; null for a model without "
            "a prediction. Missing if the checkpoint predicts no costs.",
            examples=[[0.0031, 0.00042, None]],
        ),
    ] = None


class PredictedCosts(Wire):
    """What is known about the costs of ``/predict``, apart from any prompt."""

    unit: Annotated[str, Field(examples=["dollars"])]
    mean: Annotated[
        dict[str, float], Field(description="Mean cost in the training table, of each model with a prediction.")
    ]
    bound: Annotated[
        dict[str, float], Field(description="Multiple of the prediction that 95 % of those costs stayed below.")
    ]


class ModelsResponse(Wire):
    """The models that the leaderboards rank, in the order of the coefficients, and their likelihood family."""

    family: Annotated[str, Field(description="Not in the published form.", examples=["grk"])]
    models: Annotated[list[str], Field(examples=[["claude-3-5-sonnet-20241022", "gpt-4o-2024-05-13"]])]
    costs: Annotated[
        PredictedCosts | None, Field(description="Missing if the checkpoint predicts no costs.", examples=[None])
    ] = None

    @classmethod
    def of(cls, models: Sequence[str], family: str, facts: CostFacts | None) -> "ModelsResponse":
        costs = None if facts is None else PredictedCosts(**facts.to_dict())
        return cls(models=list(models), family=family, costs=costs)


class LeaderboardsRequest(BaseModel):
    """Many prompts, and which parts of their leaderboards to return. Unknown fields are an error."""

    model_config = ConfigDict(protected_namespaces=(), extra="forbid")

    prompts: Annotated[
        list[Annotated[Turn | Turns, AfterValidator(_with_text)]],
        Field(
            min_length=1,
            description="Each a text, or the user's turns of one conversation.",
            examples=[["Write a haiku about rain.", ["hi!", "what's 1+1?"]]],
        ),
    ]
    models: Annotated[
        list[str] | None, Field(min_length=1, description="Rank only these; all by default.", examples=[None])
    ] = None
    top_k: Annotated[
        int | None, Field(ge=1, strict=True, description="Return the best k; all by default.", examples=[3])
    ] = None
    reference: Annotated[
        str | None, Field(description="Adds each model's probability of winning against this one.", examples=[None])
    ] = None
    pairs: Annotated[
        list[Pair], Field(max_length=1000, description="Adds the outcome probabilities of these pairs.", examples=[[]])
    ] = []
    costs: Annotated[
        bool, Field(strict=True, description="Adds the expected cost of each model's answer.", examples=[False])
    ] = False
    level: Annotated[
        float | None,
        Field(
            ge=0.5,
            le=0.99,
            strict=True,
            description="Probability of the intervals, 0.95 by default; an error if the checkpoint has no posterior.",
            examples=[None],
        ),
    ] = None


def _interval(text: str) -> Any:
    return Field(description=f"Interval {text}. Missing if the checkpoint has no posterior.")


class Entry(Wire):
    """One model on a leaderboard."""

    rank: int
    model: str
    coef: Annotated[float, Field(description="In nats; times 400 / ln 10 for Elo points.")]
    win_probability: Annotated[
        float | None, Field(description="Against the reference, ties not counted as wins; null without one.")
    ] = None
    cost: Annotated[
        float | None,
        Field(description="Expected, in the unit of /models; null without a prediction, missing if not asked for."),
    ] = None
    low: Annotated[float | None, _interval("of the coefficient, in nats: its lower end")] = None
    high: Annotated[float | None, _interval("of the coefficient: its upper end")] = None
    rank_best: Annotated[int | None, _interval("of the rank, for all models at once: the best")] = None
    rank_worst: Annotated[int | None, _interval("of the rank: the worst")] = None
    win_probability_low: Annotated[float | None, _interval("of win_probability; only with a reference")] = None
    win_probability_high: Annotated[float | None, _interval("of win_probability; only with a reference")] = None


class PairOutcome(Wire):
    """Outcome probabilities of an answer of ``model_a`` against one of ``model_b``."""

    model_a: str
    model_b: str
    outcomes: Annotated[
        dict[str, float],
        Field(examples=[{"a wins": 0.5, "b wins": 0.2, "tie": 0.2, "both bad": 0.1}]),
    ]
    intervals: Annotated[
        dict[str, tuple[float, float]] | None, _interval("of each probability: lower and upper end")
    ] = None


class Leaderboard(Wire):
    """The leaderboard of one prompt, best model first."""

    eta: float | None
    ranking: list[Entry]
    pairs: list[PairOutcome]


class LeaderboardsResponse(Wire):
    """One leaderboard a prompt, in the order of the prompts."""

    family: Annotated[str, Field(description="The likelihood family of the checkpoint.", examples=["grk"])]
    leaderboards: list[Leaderboard]
    level: Annotated[float | None, _interval("probability of each interval")] = None
    warning: Annotated[
        str | None, Field(description="Why not to trust the checkpoint; missing if it beat one leaderboard for all.")
    ] = None


class Problem(Wire):
    """Why a request was refused."""

    detail: Annotated[str, Field(examples=["prompts: a prompt needs at least one user turn"])]

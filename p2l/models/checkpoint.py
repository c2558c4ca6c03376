"""A trained P2L model in memory: network, prompt encoder, model names, recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from p2l.cost_facts import CostFacts
from p2l.data.encoding import encode_prompts
from p2l.data.prompt_encoder import PromptEncoder
from p2l.data.prompt_input import ManyPrompts, is_one_prompt, read_prompts
from p2l.head_posterior import HeadPosterior
from p2l.models.batch_ranking import TOKEN_BUDGET, no_ranking, rank_encoded
from p2l.models.p2l_model import P2LModel
from p2l.outcomes import OutcomeFamily
from p2l.ranking import Leaderboard, Leaderboards
from p2l.ranking.leaderboard_table import Groups


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """All that is needed to rank models for a prompt.

    Attributes:
        model: the network, on the device on which it runs.
        encoder: turns prompts into token ids.
        models: names of the ranked LLMs, in the order of the coefficients.
        recipe: how it was trained, as in ``training_config.json``.
    """

    model: P2LModel
    encoder: PromptEncoder
    models: tuple[str, ...]
    recipe: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> OutcomeFamily:
        """The likelihood family of the head."""
        return self.model.head.family

    @property
    def warning(self) -> str | None:
        """Why not to trust the model: its validation loss was not below that of one leaderboard for all prompts, or the
        training votes do not bound the strength of some models.
        """
        return self.recipe.get("warning")

    @property
    def groups(self) -> Groups | None:
        """Names and models of groups that were never compared with each other; None if all models compare."""
        return self.recipe.get("groups")

    @property
    def cost_facts(self) -> CostFacts | None:
        """What is known about the predicted costs; None if the checkpoint predicts none."""
        cost_head = self.model.head.cost_head
        return None if cost_head is None else cost_head.facts(self.models)

    @property
    def posterior(self) -> HeadPosterior | None:
        """What the votes leave open about the coefficients; None if the checkpoint has none (``p2l posterior``)."""
        head = self.model.head.posterior_head
        return None if head is None else head.posterior

    @overload
    def rank(self, prompts: str, *, token_budget: int = ...) -> Leaderboard: ...

    @overload
    def rank(self, prompts: Sequence[Mapping[str, Any]], *, token_budget: int = ...) -> Leaderboard: ...

    @overload
    def rank(self, prompts: ManyPrompts, *, token_budget: int = ...) -> Leaderboards: ...

    def rank(
        self, prompts: str | Sequence[Mapping[str, Any]] | ManyPrompts, *, token_budget: int = TOKEN_BUDGET
    ) -> Leaderboard | Leaderboards:
        """Rank the models for one prompt, or for each of many.

        Args:
            prompts: a string or a chat (list of messages with ``role`` and ``content``) is one prompt and gives a
                ``Leaderboard``. A list of strings, a Series, a table with a column ``prompt`` or the ``Path`` of one
                gives ``Leaderboards``, one for each prompt: see ``p2l.data.read_prompts``.
            token_budget: most tokens, padding included, in a batch.

        Raises:
            PromptError: a prompt is not a string, a non-empty list of strings or a chat with a user message.
        """
        turns = read_prompts(prompts)
        if not turns:
            nothing = no_ranking(len(self.models), self.family)
            return Leaderboards(self.models, nothing, self.family, (), self.warning, self.groups, self.posterior)
        encoded = encode_prompts(self.encoder, turns)
        rankings = rank_encoded(self.model, encoded, token_budget=token_budget)
        found = Leaderboards(
            self.models, rankings, self.family, tuple(turns), self.warning, self.groups, self.posterior
        )
        return found[0] if is_one_prompt(prompts) else found

    def __repr__(self) -> str:
        backbone = self.model.model.config.model_type
        return (
            f"Checkpoint({backbone}, {self.model.num_parameters:,} parameters, {len(self.models)} models, "
            f"{self.family.name}, {self.encoder.format.max_length:,} tokens)"
        )

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>"

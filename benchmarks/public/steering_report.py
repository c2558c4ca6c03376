"""Run every attack on the prompts of a test against every policy, with and without each defence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from attacked_router import AttackedRouter
from public_tables import PublicTable
from steered_policies import DEFENCES, NONE, PRICE, SHRUNK_STREAM, STREAM, Readings, policies
from steering_figures import SharedBudget, Steered, shared_budget, steered
from steering_strings import (
    PLAIN,
    Place,
    at_both_ends,
    before_filler,
    in_front,
    in_the_middle,
    three_times,
    universal_strings,
)
from suffix_search import SearchOptions, SuffixSearch, Turns, at_end

from p2l.data.measured_scores import MeasuredScores
from p2l.outcomes import GRK
from p2l.routing import erase_tail
from p2l.routing.scores import published_scores

CLEAN, SENTENCES, RANDOM = "no attack", "plain sentences", "random tokens"
ATTACKED_SHARES = (0.1, 0.5, 1.0)


@dataclass(frozen=True)
class Attacks:
    """What is searched: ``seeds`` universal strings of each of ``lengths``, and own strings of ``own`` prompts."""

    lengths: Sequence[int]
    seeds: int
    steps: int
    own: int
    own_steps: int


@dataclass
class Found:
    """All figures: by attack, policy and defence; and of a stream budget by share of the traffic and defence."""

    table: str
    models: tuple[str, ...]
    target: AttackedRouter
    tail: int
    prompts: int
    own: int = 0
    strings: dict[str, list[str]] = field(default_factory=dict)
    steered: dict[tuple[str, str, str], Steered] = field(default_factory=dict)
    shared: dict[tuple[float, str], SharedBudget] = field(default_factory=dict)


class Measurement:
    """Attacks one test of a table."""

    def __init__(self, table: PublicTable, target: AttackedRouter, tail: int) -> None:
        self.table, self.target, self.tail = table, target, tail
        ((_, part),) = table.tests.items()
        self.measured: MeasuredScores = part.measured
        self.search = SuffixSearch(target.checkpoint, target.margin)
        self.policies = policies(target)

    def run(self, attacks: Attacks, work: Path) -> Found:
        """Measure every attack."""
        kept = work / f"{self.table.name}_strings.json"
        lengths, fit = attacks.lengths, self.table.fit.measured.prompts
        universal = universal_strings(self.search, fit, lengths, attacks.seeds, attacks.steps, kept)
        prompts, longest = self.measured.prompts, max(lengths)
        generators = map(np.random.default_rng, range(attacks.seeds))
        strings = {SENTENCES: list(PLAIN), f"{longest} {RANDOM}": [self.search.random(longest, g) for g in generators]}
        strings |= {f"{length} searched tokens": universal[length] for length in lengths}
        found = Found(self.table.name, self.table.models, self.target, self.tail, len(prompts), strings=dict(strings))
        clean = self.readings(prompts)
        self._measure(found, CLEAN, clean, [clean], self.measured)
        attacked: list[Readings] = []
        for name, texts in strings.items():
            attacked = [self.readings([at_end(one, text) for one in prompts]) for text in texts]
            self._measure(found, name, clean, attacked, self.measured)
        self._share(found, clean, attacked[0])
        for where, place in self._places().items():
            changed = [self.readings([place(one, text) for one in prompts]) for text in universal[longest]]
            self._measure(found, f"{longest} {where}", clean, changed, self.measured)
        if attacks.own:
            self._own(found, attacks, clean)
        return found

    def readings(self, prompts: Sequence[Turns]) -> Readings:
        """Return the rankings of the prompts, and of the prompts without their tails."""
        short = [erase_tail(one, self.tail) for one in prompts]
        return [self.search.rank(one).numpy() for one in (prompts, short)]

    def _places(self) -> Mapping[str, Place]:
        """Return where an attacker who knows the defence puts a string."""
        return {
            "in front": in_front,
            "in the middle": in_the_middle,
            "at both ends": at_both_ends,
            "three times": three_times,
            f"before {self.tail} characters": before_filler(self.tail),
        }

    def _measure(
        self, found: Found, attack: str, clean: Readings, attacked: Sequence[Readings], measured: MeasuredScores
    ) -> None:
        """Add the figures of an attack, which has one entry of ``attacked`` for each string."""
        for policy, choose in self.policies.items():
            if len(measured) < found.prompts and policy in (STREAM, SHRUNK_STREAM):
                continue
            base = choose(DEFENCES[NONE](clean), measured)
            for defence, defend in DEFENCES.items():
                shares = [choose(defend(one), measured) for one in attacked]
                found.steered[attack, policy, defence] = steered(base, shares, self.target.dearest, measured)
        print(f"{attack}: measured", flush=True)

    def _share(self, found: Found, clean: Readings, attacked: Readings) -> None:
        """Add the figures of a stream budget of which a part of the traffic is attacked."""
        for share in ATTACKED_SHARES:
            for defence, defend in DEFENCES.items():
                scores = [_scores(defend(one)) for one in (clean, attacked)]
                found.shared[share, defence] = shared_budget(self.target, *scores, share, self.measured)

    def _own(self, found: Found, attacks: Attacks, clean: Readings) -> None:
        """Search a string for each of some prompts that do not go to the dearest LLM, from a universal one on.

        They are too few for a stream.
        """
        base = self.policies[PRICE](clean[:1], self.measured)[:, self.target.dearest]
        chosen = np.flatnonzero(base == 0)[: attacks.own]
        start = found.strings[f"{min(attacks.lengths)} searched tokens"][0]
        options = SearchOptions(attacks.own_steps, prompts=1)
        texts = [self.search.search([self.measured.prompts[at]], start, options, seed=at) for at in chosen.tolist()]
        name = f"{min(attacks.lengths)} tokens of its own"
        found.strings[name], found.own = texts, len(chosen)
        prompts = [at_end(self.measured.prompts[at], text) for at, text in zip(chosen, texts, strict=True)]
        some = [one.map(lambda part: part[chosen]) for one in clean]
        self._measure(found, name, some, [self.readings(prompts)], self.measured.rows(chosen))


def _scores(readings: Readings) -> np.ndarray:
    return np.stack([published_scores(GRK, one) for one in readings], axis=1)

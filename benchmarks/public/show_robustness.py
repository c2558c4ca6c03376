"""The figures of attacks, as Markdown and JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from steered_policies import DEFENCES, NONE
from steering_report import Found

from p2l.statistics.bootstrap import Interval


def text_of(found: Found) -> str:
    """Return every figure as Markdown, a table for each policy."""
    target = found.target
    lines = [
        f"# {found.table}: {found.prompts:,} prompts, budget {target.budget:.3g}, price {target.price:.4g}",
        f"- the dearest LLM: {found.models[target.dearest]}; costs "
        + ", ".join(f"{name} {cost:.3g}" for name, cost in zip(found.models, target.cost, strict=True)),
        f"- the defence leaves out {found.tail} characters at the end, at most half of the last turn",
        "- cost and score are beside those of the same policy without attack and defence",
        f"- a stream budget: all prompts are attacked; {found.own} prompts have strings of their own, without a stream",
    ]
    lines += [f"- {name}: {' | '.join(texts[:3])}" for name, texts in found.strings.items()]
    for policy in dict.fromkeys(policy for _, policy, _ in found.steered):
        lines += ["", f"## {policy}", "", *_policy(found, policy)]
    return "\n".join([*lines, "", *_shared(found)])


def _policy(found: Found, policy: str) -> Iterator[str]:
    yield "| attack | defence | share of the dearest | moved | cost ratio | score change |"
    yield "|---|---|---|---|---|---|"
    for (attack, own, defence), one in found.steered.items():
        if own == policy:
            values = (one.dearest, one.moved, one.cost)
            cells = [f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]" for value in values]
            yield f"| {attack} | {defence} | {' | '.join(cells)} | {_signed(one.score)} |"


def _shared(found: Found) -> Iterator[str]:
    yield "| traffic attacked | defence | over budget | attacked to the dearest | others' cost | others' score |"
    yield "|---|---|---|---|---|---|"
    for (share, defence), one in found.shared.items():
        others = "| |" if one.others is None else f"{one.others_cost:.3f} | {_signed(one.others)} |"
        yield f"| {share:.0%} | {defence} | {one.over:+.2%} | {one.attacked:.3f} | {others}"


def _signed(value: Interval) -> str:
    return f"{value.value:+.4f} [{value.low:+.4f}, {value.high:+.4f}]"


def numbers(found: Found) -> dict[str, Any]:
    """Return every figure, ready for JSON."""
    attacks = dict.fromkeys(attack for attack, _, _ in found.steered)
    chosen = dict.fromkeys(policy for _, policy, _ in found.steered)
    rows = {
        attack: {
            policy: {defence: asdict(found.steered[attack, policy, defence]) for defence in DEFENCES}
            for policy in chosen
            if (attack, policy, NONE) in found.steered
        }
        for attack in attacks
    }
    shared = [{"share": share, "defence": defence, **asdict(one)} for (share, defence), one in found.shared.items()]
    target = found.target
    facts = {"budget": target.budget, "price": target.price, "dearest": found.models[target.dearest]}
    sizes = {"prompts": found.prompts, "own": found.own, "tail": found.tail}
    return {"table": found.table, **facts, **sizes, "strings": found.strings, "steered": rows, "stream": shared}

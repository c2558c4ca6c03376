"""Draw how often each attack reaches the dearest LLM, with and without the defence."""

from pathlib import Path

from matplotlib.figure import Figure
from steered_policies import CHEAPER, NONE, PRICE, STREAM
from steering_report import Found

from p2l.drawing import finish, height_of_rows, key_below, name_rows, new_figure, tidy
from p2l.files import whole_file

PANELS = {PRICE: "one price for all prompts", STREAM: "stream budget, all prompts attacked"}
COLOURS = {NONE: "#d95f02", CHEAPER: "#1f77b4"}
LABELS = {NONE: "no defence", CHEAPER: "the cheaper of two decisions, with and without the tail"}


def draw(found: Found, path: Path) -> None:
    """Write a PNG with a panel for each of two policies."""
    figure = figure_of(found)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


def figure_of(found: Found) -> Figure:
    """Return the share of answers by the dearest LLM, a row for each attack."""
    attacks = list(dict.fromkeys(attack for attack, _, _ in found.steered))
    figure = new_figure(11.0, height_of_rows(len(attacks) + 1))
    axes = figure.subplots(1, len(PANELS), sharey=True, squeeze=False)[0]
    for axis, (policy, title) in zip(axes, PANELS.items(), strict=True):
        for at, attack in enumerate(attacks):
            for defence, shift in ((NONE, -0.15), (CHEAPER, 0.15)):
                if (attack, policy, defence) not in found.steered:
                    continue
                share = found.steered[attack, policy, defence].dearest
                ends = [[share.value - share.low], [share.high - share.value]]
                label = LABELS[defence] if at == 0 else None
                axis.errorbar(share.value, at + shift, xerr=ends, fmt="o", color=COLOURS[defence], label=label, ms=4)
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("share of answers by the dearest LLM")
        axis.set_xlim(-0.02, 1.02)
        tidy(axis)
    name_rows(axes[0], range(len(attacks)), attacks)
    key_below(figure, f"{found.table}: {found.prompts:,} held-out prompts", "bars: 95% intervals over prompts")
    return finish(figure)

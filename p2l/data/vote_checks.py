"""Votes in one line a table, and doubts about them and their split, one sentence each."""

import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from p2l.data.prompt_overlap import PromptOverlap
from p2l.data.repeated_votes import repeated_votes
from p2l.data.table_summary import RARE, connected_models, votes_of_models
from p2l.data.vote_table import VoteTable
from p2l.winner import OUTCOMES

log = logging.getLogger(__name__)

_MUCH_SHARED = 0.1  # of the held-out votes, on prompts that are trained on too
BY_PROMPT = "hold out by prompt (split_by=prompt)"
_NAMES_SHOWN = 5
_LATIN = str.maketrans("авеікмнорстухѕјһԁԛԝӏαβεικμνορτυχζ", "abeikmhopctyxsjhdqwlabeikmvoptyxz")
# #N/A, #NAME? and #DIV/0!, in the words of any language: #NV, #WERT!, #¡VALOR!
_CAPITALS = "A-Z\u00c0-\u00de\u0410-\u042f"
_SPREADSHEET_ERROR = re.compile(rf"#([N\u041d]/?[ADV\u0414]|\u00a1?[{_CAPITALS}][{_CAPITALS}_]*(/0)?[!?])")
_UNSEEN = ("Cf", "Pd")  # characters of Unicode that cannot be seen, and dashes


def one_line(table: VoteTable) -> str:
    """Describe a table: votes, prompts, models with the range of their votes, outcomes."""
    counts = votes_of_models(table)
    shares = zip(OUTCOMES, table.outcome_shares.mean(axis=0), strict=True)
    outcomes = ", ".join(f"{outcome.value} {share:.0%}" for outcome, share in shares if share > 0)
    models = f"{len(counts):,} models ({min(counts.values()):,} to {max(counts.values()):,} votes each)"
    return f"{len(table):,} votes on {len(table.prompts):,} prompts, {models}; {outcomes}"


def table_doubts(name: str, table: VoteTable) -> Iterator[str]:
    """Yield doubts about one table: parts that never met, names spelt in two ways, models with few votes."""
    parts, counts = connected_models(table), votes_of_models(table)
    if len(parts) > 1:
        others = "; ".join(map(shown_names, parts[1 : _NAMES_SHOWN + 1]))
        yield (
            f"{name}: the votes fall into {len(parts)} parts that never met, so that strengths compare within a part "
            f"only; outside the largest ({len(parts[0])} models): {others}"
        )
    yield from (f"{name}: {doubt}" for doubt in name_doubts(counts))
    if not table.outcome_shares[:, :2].any():
        yield f"{name}: all votes are ties or both bad, so that no model beats another"
    yield from (f"{name}: {doubt}" for doubt in _prompt_doubts(table.prompts))
    yield from repeat_doubts(name, int(repeated_votes(table).sum()), len(table))
    if rare := [f"{model} ({count:,})" for model, count in sorted(counts.items()) if count < RARE]:
        yield f"{name}: {len(rare)} of {len(counts)} models have fewer than {RARE} votes: {shown_names(rare)}"


def repeat_doubts(name: str, repeated: int, votes: int) -> Iterator[str]:
    """Yield a doubt if some votes repeat earlier ones."""
    if repeated:
        yield (
            f"{name}: {repeated:,} votes ({100 * repeated / votes:.1f} %) repeat an earlier one (the same prompt, "
            "models and outcome, and conversation and time if given); if they are copies, remove them"
        )


def name_doubts(names: Iterable[str]) -> Iterator[str]:
    """Yield doubts if names of models look like two spellings of one, or are errors of a spreadsheet."""
    names = sorted(names)
    if errors := list(filter(_SPREADSHEET_ERROR.fullmatch, names)):
        yield (
            f"{shown_names(errors)} as a model's name is an error value of a spreadsheet; as a model it has a strength "
            "of its own: correct these cells, or leave them empty"
        )
    alike: dict[str, list[str]] = {}
    for model in names:
        alike.setdefault(_plain(model), []).append(model)
    if several := [" and ".join(map(_visible, same)) for same in alike.values() if len(same) > 1]:
        yield (
            f"{len(several)} names differ only in case, spaces, hyphens, the way their characters are encoded, letters "
            f"of other alphabets that look alike or a final .0, and each is a model of its own: {shown_names(several)}"
        )


def _visible(name: str) -> str:
    """Return a name with escapes for the characters that cannot be seen."""
    return "".join(f"\\u{ord(letter):04x}" if unicodedata.category(letter) == "Cf" else letter for letter in name)


def _prompt_doubts(prompts: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a doubt if prompts are errors of a spreadsheet, which takes a text with = at the start for a formula."""
    if errors := [turns[0] for turns in prompts if len(turns) == 1 and _SPREADSHEET_ERROR.fullmatch(turns[0])]:
        yield (
            f"{len(errors):,} of {len(prompts):,} prompts are error values of a spreadsheet, such as {errors[0]}; "
            "correct these cells: format them as text, so that a prompt that begins with = or - is no formula"
        )


def _plain(name: str) -> str:
    """Return a name in lower case, without spaces, hyphens and invisible characters, the others in one encoding.

    Cyrillic and Greek letters that look like a Latin one, in lower or upper case, are that one.
    Of a whole number that a gap made a float, such as 100.0, the number.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).translate(_LATIN)
    seen = "".join(letter for letter in folded if unicodedata.category(letter) not in _UNSEEN)
    return re.sub(r"^(\d+)\.0+$", r"\1", re.sub(r"[\s_]+", "", seen))


def warn_of_doubts(tables: Mapping[str, VoteTable], advice: str = BY_PROMPT) -> None:
    """Warn of what is doubtful in "train" and in the held-out tables beside it."""
    for doubt in (*table_doubts("train", tables["train"]), *split_doubts(tables, advice)):
        log.warning("%s", doubt)


def split_doubts(tables: Mapping[str, VoteTable], advice: str = BY_PROMPT) -> Iterator[str]:
    """Yield doubts about held-out tables: prompts that are trained on too, models that are not."""
    train = tables["train"]
    for name, table in tables.items():
        if name == "train":
            continue
        yield from held_out_doubts(name, PromptOverlap.of(train, table), untrained_models(train, table), advice)


def held_out_doubts(
    name: str, overlap: PromptOverlap, untrained: Sequence[str], advice: str = BY_PROMPT
) -> Iterator[str]:
    """Yield doubts about one held-out table; ``untrained`` are its models without a training vote."""
    if untrained:
        yield f"{name}: models without a training vote, whose rows stay untrained: {shown_names(untrained)}"
    if overlap.share > _MUCH_SHARED:
        yield f"{name}: {overlap}, so that it says little about new prompts; {advice}"


def untrained_models(train: VoteTable, held_out: VoteTable) -> list[str]:
    """Return the models of held-out votes that no training vote has."""
    return sorted(set(votes_of_models(held_out)) - set(votes_of_models(train)))


def shown_names(names: Sequence[str]) -> str:
    """Show the first names, and how many more there are."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more

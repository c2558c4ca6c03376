"""Answer the prompts that came before, and let equal prompts share one computation."""

from collections.abc import Callable, Sequence

from p2l.data.prompt_encoder import Prompt, turns_of
from p2l.serving.batching.answer_cache import AnswerCache, digest_turns
from p2l.serving.batching.observer import Observer
from p2l.serving.batching.rank_request import PendingPrompt, RankRequest


class KnownPrompts:
    """The answers of one model, and its prompts that wait or run.

    Args:
        max_bytes: of the answers; with 0, every prompt is computed on its own.
        observer: counts answers and shared computations.
    """

    def __init__(self, max_bytes: int, observer: Observer | None) -> None:
        self._answers = AnswerCache(max_bytes) if max_bytes else None
        self._under_way: dict[bytes, PendingPrompt] = {}
        self._observer = observer

    def new_prompts(
        self, request: RankRequest, prompts: Sequence[Prompt], estimate: Callable[[Sequence[str]], int]
    ) -> list[PendingPrompt]:
        """Answer the prompts that are known, join those under way, and return the others, with their estimated tokens.

        Raises PromptError if a prompt is not text.
        """
        if self._answers is None:
            return [
                _new_prompt(request, position, prompt, estimate(turns_of(prompt)))
                for position, prompt in enumerate(prompts)
            ]
        new: dict[bytes, PendingPrompt] = {}
        answered = shared = 0
        for position, prompt in enumerate(prompts):
            turns = turns_of(prompt)
            spelling = digest_turns(turns)
            under_way = new.get(spelling) or self._under_way.get(spelling)
            if (row := self._answers.find(spelling)) is not None:
                request.answer(position, row)
                answered += 1
            elif under_way is not None and under_way.join(request, position):
                shared += 1
            else:
                new[spelling] = _new_prompt(request, position, prompt, estimate(turns), spelling)
        self._report(answered, shared)
        return list(new.values())

    def start(self, items: Sequence[PendingPrompt]) -> None:
        """Let later requests for the same prompts join these."""
        if self._answers is not None:
            self._under_way |= {item.spelling: item for item in items}

    def answer_encoded(self, item: PendingPrompt) -> bool:
        """Set the row of a prompt whose token ids came before in other turns; False if they did not."""
        row = None if self._answers is None else self._answers.find_encoded(item.ids, item.spelling)
        if row is None:
            return False
        item.row = row
        self._report(1, 0)
        return True

    def keep(self, items: Sequence[PendingPrompt]) -> None:
        """Remember the rows of these prompts."""
        if self._answers is not None:
            for item in items:
                self._answers.keep(item.ids, item.spelling, item.row)
            if self._observer:
                self._observer.answers_cached(*self._answers.size)

    def end(self, items: Sequence[PendingPrompt]) -> None:
        """Let no later request find these prompts: they are answered, failed or dropped."""
        for item in items:
            # another may have taken its place: two requests came at once, or it was dropped when that one came
            if self._under_way.get(item.spelling) is item:
                self._under_way.pop(item.spelling, None)

    def _report(self, answered: int, shared: int) -> None:
        if self._observer and (answered or shared):
            self._observer.repeated(answered, shared)


def _new_prompt(
    request: RankRequest, position: int, prompt: Prompt, tokens: int, spelling: bytes = b""
) -> PendingPrompt:
    item = PendingPrompt(prompt, tokens, spelling)
    item.join(request, position)
    return item

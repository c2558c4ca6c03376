"""Prompts that go on from cached blocks get the states that they get alone, in bounded memory."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2l.models.prefix_cache import NAME_BYTES, PrefixCache
from p2l.models.row_decoder import RowDecoder
from tests.models.test_row_decoder import backbone_of, states

CLS, OPENING, LENGTH = 49, [3, 1], 256


def conversation(turns: int, seed: int = 0, opening: list[int] = OPENING) -> list[np.ndarray]:
    """The prompts of a conversation, each with one turn more, which end with CLS."""
    rng = np.random.default_rng(seed)
    ids, prompts = list(opening), []
    for _ in range(turns):
        ids += rng.integers(5, 45, rng.integers(5, 14)).tolist()
        prompts.append(np.array([*ids, CLS], dtype=np.int32))
    return prompts


class Counted(PrefixCache):
    """A cache of short blocks that adds up what was found."""

    def __init__(self, max_bytes: int = 1 << 24):
        self.tokens, self.blocks, self.size = 0, 0, 0
        super().__init__(max_bytes, self.note, block_tokens=4)

    def note(self, blocks: int, size: int, found: int) -> None:
        self.blocks, self.size = blocks, size
        self.tokens += found


@pytest.mark.parametrize("opening", [[], OPENING])
@pytest.mark.parametrize("kind", ["qwen2", "llama", "qwen3", "mistral"])
def test_turn_after_turn_gets_the_states_of_the_backbone(kind, opening):
    backbone, cache = backbone_of(kind), Counted()
    rows = RowDecoder(backbone, opening, LENGTH)
    prompts = conversation(9, opening=opening)
    found = torch.cat([rows([prompt], cache) for prompt in prompts])
    torch.testing.assert_close(found, states(backbone, prompts), rtol=0, atol=2e-5)
    # from the third turn on: all that the turn before had, but its CLS token and what fills no block
    assert cache.tokens >= sum(len(prompt) - len(opening) - 1 - 3 for prompt in prompts[1:-1])


def test_a_row_of_known_and_new_prompts_in_any_order():
    backbone, cache = backbone_of("qwen2"), Counted()
    rows = RowDecoder(backbone, OPENING, LENGTH)
    known = [conversation(6, seed) for seed in (1, 2, 3)]
    for turn in range(4):
        rows([prompts[turn] for prompts in known], cache)
    branch = np.concatenate([known[0][2][:-3], [7, 7, 7, 7, 7, 7, CLS]]).astype(np.int32)
    mixed = [
        known[0][5], conversation(3, 9)[2], np.array([CLS]), branch, known[1][4], np.array([*OPENING, CLS]),
        known[2][0], known[0][5],
    ]  # fmt: skip
    before = cache.tokens
    found = rows(mixed, cache)
    assert cache.tokens > before
    torch.testing.assert_close(found, states(backbone, mixed), rtol=0, atol=2e-5)
    torch.testing.assert_close(rows(mixed[::-1], cache), found.flip(0), rtol=0, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([7, 8]), min_size=1, max_size=30), min_size=1, max_size=12), st.integers(0, 9000)
)
def test_any_prompts_in_any_memory(bodies, max_bytes):
    prompts = [np.array([*OPENING, *body, CLS]) for body in bodies]
    cache = Counted(max_bytes)
    for prompt in prompts:
        torch.testing.assert_close(ROWS([prompt], cache), ROWS([prompt]), rtol=0, atol=2e-5)
        assert cache.size <= max_bytes
    torch.testing.assert_close(ROWS(prompts, cache), ROWS(prompts), rtol=0, atol=2e-5)
    assert cache.size <= max_bytes


ROWS = RowDecoder(backbone_of("qwen2"), OPENING, 64)


def test_a_prompt_that_came_once_leaves_no_block():
    cache = Counted()
    for seed in range(20):
        ROWS([conversation(1, seed)[0]], cache)
    assert (cache.blocks, cache.tokens, cache.size) == (0, 0, 20 * NAME_BYTES)


def test_a_prompt_that_was_cut_on_the_left_finds_nothing():
    cache = Counted()
    prompt = conversation(6)[-1]
    ROWS([prompt], cache), ROWS([prompt], cache)
    before = cache.tokens
    for cut in range(1, 9):
        torch.testing.assert_close(ROWS([prompt[cut:]], cache), ROWS([prompt[cut:]]), rtol=0, atol=2e-5)
    assert cache.tokens == before


def test_the_end_of_the_oldest_conversation_is_dropped_first():
    cache, old, new = Counted(), conversation(5, 1)[-1], conversation(5, 2)[-1]
    for prompt in (old, old, new, new):
        ROWS([prompt], cache)
    names = cache.names(old, len(OPENING))
    cache._max_bytes = cache.size - 1
    newer = cache.names(new, len(OPENING))
    cache.find(newer)
    assert (cache.count(names), cache.count(newer)) == (len(names) - 1, len(newer))


def test_threads_share_it():
    backbone, cache = backbone_of("llama"), Counted(60_000)
    rows = RowDecoder(backbone, OPENING, LENGTH)
    prompts = [prompt for seed in range(4) for prompt in conversation(6, seed)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda prompt: rows([prompt], cache), prompts * 3))
    torch.testing.assert_close(torch.cat(found), rows(prompts).repeat(3, 1), rtol=0, atol=2e-5)
    assert cache.tokens > 0 and cache.size <= 60_000


def test_bfloat16_states_equal_those_without_a_cache():
    backbone, cache = backbone_of("qwen2").to(torch.bfloat16), Counted()
    rows = RowDecoder(backbone, OPENING, LENGTH)
    for prompt in conversation(6):
        found, alone = rows([prompt], cache).float(), rows([prompt]).float()
        # attention rounds otherwise in calls with other numbers of queries, and so do products on some CPUs
        assert (found - alone).norm() <= 0.01 * alone.norm()
    assert cache.tokens > 0


def test_the_names_of_blocks_depend_on_all_that_is_before_them():
    ids, block_names = np.arange(20, dtype=np.int32), Counted().names
    names = block_names(ids, 2)
    assert len(names) == len(set(names)) == 4  # tokens 2 to 17; the last token is in no block
    assert block_names(ids[:19], 2) == names and block_names(ids[:18], 2) == names[:3]
    assert block_names(ids.astype(np.int64), 2) == names
    other = ids.copy()
    other[0] = 99
    assert not set(block_names(other, 2)) & set(names)
    assert not set(block_names(ids, 6)) & set(names)

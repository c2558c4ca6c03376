"""What the votes say about the place of new models, by hand: who met whom, who won, how often both were bad."""

import math

import pandas as pd
import pytest

from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.new_models.placement_notes import loss_notes, placement_notes, prompt_notes
from p2l.new_models.row_fit import fit_rows
from p2l.outcomes import BT, FAMILIES, GRK, RK
from tests.new_models.world import NEW, draw_votes, make_world

KNOWN = ("ant", "bee")
BOUND, APART = "do not bound its strength", "no chain of votes connects it"


def table(*votes: tuple[str, str, str], times: int = 100) -> VoteTable:
    frame = pd.DataFrame(votes * times, columns=["model_a", "model_b", "winner"]).assign(prompt="p")
    return VoteTable.from_frame(frame, (*KNOWN, *sorted({*frame["model_a"], *frame["model_b"]} - {*KNOWN})))


def notes(family, *votes: tuple[str, str, str], new: tuple[str, ...] = ("new",), times: int = 100) -> list[str]:
    found = placement_notes(table(*votes, times=times), new, KNOWN, family)
    assert tuple(found) == new
    return ["; ".join(found[name]) for name in new]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_wins_and_losses_against_known_models_say_enough(family) -> None:
    bad = ("ant", "new", "tie (bothbad)")
    assert notes(family, ("new", "ant", "model_a"), ("bee", "new", "model_a"), bad) == [""]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_wins_alone_do_not_bound_a_strength(family) -> None:
    (note,) = notes(family, ("new", "ant", "model_a"), ("bee", "new", "model_b"))
    assert BOUND in note


def test_a_chain_over_another_new_model_counts() -> None:
    chain = (("ant", "dog", "model_a"), ("dog", "ant", "model_a"), ("dog", "eel", "model_a"), ("eel", "dog", "model_a"))
    assert notes(BT, *chain, new=("dog", "eel")) == ["", ""]
    # eel beats all that dog is beaten by: a chain without a way back
    assert notes(BT, *chain[:2], chain[3], new=("dog", "eel"))[1].startswith("the votes do not bound")


@pytest.mark.parametrize("family", [BT, RK])
def test_votes_among_new_models_alone_are_refused(family) -> None:
    with pytest.raises(DataError, match="no chain of votes connects dog, eel to a known model"):
        notes(family, ("dog", "eel", "model_a"), ("eel", "dog", "model_a"), new=("dog", "eel"))


def test_grounded_families_place_a_model_by_bad_answers() -> None:
    wins = (("dog", "eel", "model_a"), ("eel", "dog", "model_a"))
    with pytest.raises(DataError, match="no chain of votes connects dog, eel"):
        notes(GRK, *wins, new=("dog", "eel"))
    found = notes(GRK, *wins, ("dog", "eel", "tie (bothbad)"), new=("dog", "eel"))
    assert all("rests on the votes in which both answers were bad" in note for note in found)


def test_one_model_that_is_placed_lets_the_others_pass_with_a_note() -> None:
    found = notes(
        BT, ("dog", "eel", "model_a"), ("fox", "ant", "model_a"), ("ant", "fox", "model_a"), new=("dog", "eel", "fox")
    )
    assert APART in found[0] and APART in found[1] and found[2] == ""


def test_few_votes_are_noted() -> None:
    (note,) = notes(BT, ("new", "ant", "model_a"), ("ant", "new", "model_a"), times=49)
    assert note == "fewer than 100 votes (98): its row is mostly prior"


def test_a_loss_above_that_of_equal_chances_is_noted() -> None:
    found = loss_notes({"good": math.log(4), "bad": math.log(4) + 1e-9}, GRK)
    assert found["good"] == [] and "worse than equal chances (1.386)" in found["bad"][0]
    assert loss_notes({"bad": 0.7}, BT)["bad"] and not loss_notes({"good": 0.69}, BT)["good"]


@pytest.mark.parametrize("penalties", [[1.0], [0.25, 1.0, 4.0]])
def test_the_held_out_loss_of_each_model(penalties) -> None:
    """Each vote is with one new model, so that the losses of models average to that of all votes."""
    world = make_world(GRK)
    votes = draw_votes(world, 200)
    found = fit_rows(world.head, world.known, votes, world.features, NEW, penalties=penalties)
    assert set(found.held_out) == set(penalties) and set(found.held_out_of) == set(NEW)
    assert sum(found.held_out_of.values()) / 2 == pytest.approx(found.held_out[found.penalty])
    coin = votes.frame.assign(winner=["model_a", "model_b", "tie", "tie (bothbad)"] * (len(votes) // 4))
    noise = fit_rows(
        world.head, world.known, VoteTable.from_frame(coin, world.models), world.features, NEW, penalties=penalties
    )
    assert min(noise.held_out_of.values()) > max(found.held_out_of.values())


def test_votes_on_few_prompts_are_noted() -> None:
    found = prompt_notes({"one": 1, "few": 19, "many": 20})
    assert "all its votes are on one prompt" in found["one"][0] and "votes on 19 prompts only" in found["few"][0]
    assert found["many"] == []

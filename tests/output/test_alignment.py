"""Chains along a passage."""

from guard.output.alignment import Alignment, Chain


def follow(steps: list[tuple[int, list[int]]]) -> list[int]:
    """What the best chain covers after each step."""
    alignment = Alignment()
    chains = [alignment.step(number, places) for number, places in steps]
    return [chain.covered if chain else 0 for chain in chains]


def test_fingerprints_that_follow_one_another_make_a_chain() -> None:
    assert follow([(2, [10]), (3, [11]), (4, [12])]) == [3, 4, 5]


def test_words_replaced_left_out_and_added_do_not_break_it() -> None:
    assert follow([(2, [10]), (6, [14])]) == [3, 6]
    assert follow([(2, [10]), (7, [15])]) == [3, 6]
    assert follow([(2, [10]), (5, [14])]) == [3, 6]
    assert follow([(2, [10]), (6, [13])]) == [3, 6]


def test_a_longer_gap_does() -> None:
    assert follow([(2, [10]), (8, [16])]) == [3, 3]
    assert follow([(2, [10]), (3, [40])]) == [3, 3]


def test_of_several_places_the_one_that_goes_on_counts() -> None:
    assert follow([(2, [10, 50]), (3, [11, 90]), (4, [12, 51])]) == [3, 4, 5]


def test_its_first_word_is_known_until_it_can_go_on_no_more() -> None:
    alignment = Alignment()
    assert alignment.step(7, [10]) == Chain(3, 5, 10)
    for number in range(8, 12):
        assert alignment.step(number, []) is None
        assert alignment.first == 5
    assert alignment.step(12, []) is None
    assert alignment.first is None


def test_of_several_chains_the_one_that_began_first_is_held() -> None:
    alignment = Alignment()
    alignment.step(2, [10])
    alignment.step(3, [50])
    assert alignment.first == 0
    alignment = Alignment()
    alignment.step(2, [10])
    alignment.step(3, [11, 50])
    for number in range(4, 8):  # the last is too far from the first fingerprint, not from the next
        alignment.step(number, [])
        assert alignment.first == 0

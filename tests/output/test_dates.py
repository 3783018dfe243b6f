"""Dates and the ways of writing them."""

import pytest

from guard.normalize import fold
from guard.output.dates import date_forms

WAYS = [
    "8 September 1956", "8th of September, 1956", "the 8th day of September, 1956",
    "September 8, 1956", "Sep 8th 1956", "8.9.1956", "08/09/1956", "1956-09-08",
]  # fmt: skip


@pytest.mark.parametrize("learned", WAYS)
@pytest.mark.parametrize("said", [way for way in WAYS if "day of" not in way])
def test_a_date_is_known_in_every_way_of_writing_it(learned: str, said: str) -> None:
    assert fold(said).text in date_forms(f"It was on {learned}.")


@pytest.mark.parametrize("text", ["45 September 1956", "in 1956", "version 1.2.3", "99/99/1956"])
def test_what_is_no_whole_date_has_no_forms(text: str) -> None:
    assert not date_forms(text)

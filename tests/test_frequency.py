"""How common words are."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from guard.frequency import ordinary_near, zipf
from guard.misspelling import Misspellings


def test_zipf() -> None:
    assert zipf("the") > 7 > zipf("newton") > zipf("mahfouz") > zipf("qzxvwp") == 0


def test_ordinary_words_near_a_name() -> None:
    near = ordinary_near("newton")
    assert "newtown" in near and not {"newton", "newten", "newly"} & near.keys()
    assert ordinary_near("maria")["marie"]  # common
    assert not ordinary_near("isaac")["issac"]
    assert "basis" in ordinary_near("basil")
    assert "schone" in ordinary_near("schope")  # folded, of another language
    assert ordinary_near("hsu") == {}


@given(st.text("abeinorst", max_size=9))
def test_they_are_what_may_be_its_misspellings(word: str) -> None:
    for other in ordinary_near(word):
        assert other.isascii() and other == other.casefold()
        assert word in Misspellings([word]).near(other)


def test_the_lists_are_not_loaded_with_the_detectors() -> None:
    code = "import sys, guard.detectors.lexical; sys.exit('wordfreq' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

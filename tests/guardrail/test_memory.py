"""Prompts are kept until their answers come, and no longer; an id that stands for two, for none."""

from typing import Any

from guard.guardrail.memory import Memory, Prompt

EDITION: Any = object()


def prompt(text: str, *doubted: str) -> Prompt:
    return Prompt(text, text, frozenset(doubted), EDITION)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_prompt_is_found_by_its_call() -> None:
    memory = Memory()
    memory.keep("a", prompt("one"))
    memory.keep("b", prompt("other"))
    assert memory.find("a") == prompt("one")
    assert memory.find("c") is None and memory.find(None) is None


def test_the_same_request_may_be_asked_about_again() -> None:
    memory = Memory()
    for _ in range(3):
        memory.keep("a", prompt("one"))
    assert memory.find("a") == prompt("one")


def test_an_id_that_stands_for_two_prompts_is_trusted_no_more() -> None:
    """Clients may choose it: a harmless prompt must not stand for another's answer."""
    memory = Memory()
    memory.keep("a", prompt("near to a target", "target"))
    memory.keep("a", prompt("harmless"))
    assert memory.find("a") is None
    memory.keep("a", prompt("harmless"))
    assert memory.find("a") is None


def test_prompts_without_an_id_are_not_mixed_up() -> None:
    memory = Memory()
    memory.keep(None, prompt("one"))
    memory.keep("", prompt("other"))
    assert memory.find(None) is None and memory.find("") is None


def test_it_forgets() -> None:
    clock = Clock()
    memory = Memory(most=1000, longest=60, clock=clock)
    memory.keep("a", prompt("a" * 300))
    memory.keep("b", prompt("b" * 300))
    assert memory.find("a") is None, "the oldest goes where there is no room"
    assert memory.find("b") is not None
    clock.now = 61
    assert memory.find("b") is None
    memory.keep("c", prompt("c" * 2000))
    assert memory.find("c") is None, "too large to be kept"

"""What a proxy has found is done here too: it adds to what is decided, and takes nothing away."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vllm.sampling_params import RequestOutputKind, SamplingParams

from guard.engine.frontend import Frontend
from guard.engine.mediator import Mediator
from guard.errors import DetectionError
from guard.guard import Guard
from guard.handover import DETECTOR, found
from guard.interventions.base import Answer
from tests.engine.test_mediator import BOOK, HARMLESS, PERSON, SHADOW, chat, kept

ENGINE: Any = SimpleNamespace(
    model_config=SimpleNamespace(max_model_len=2048), vllm_config=SimpleNamespace()
)


@pytest.fixture(scope="module")
def mediator(guard: Guard, tokenizer: Any, served: Path) -> Mediator:
    return Mediator(guard, tokenizer, served)


def test_a_harmless_prompt_gets_what_is_done_about_the_target(
    mediator: Mediator, tokenizer: Any
) -> None:
    ids = chat(tokenizer, HARMLESS)
    outcome = mediator.judge(ids, found=["brennick"])
    assert isinstance(outcome.answer, Answer)
    (finding,) = outcome.decision.findings
    assert (finding.target, finding.mode, finding.score.detector) == (
        "brennick",
        "enforce",
        DETECTOR,
    )
    corrupted = mediator.judge(ids, found=["vessmere"])
    assert "egg" not in kept(mediator, ids, corrupted)


def test_it_is_enforced_where_the_target_is_watched_only(
    mediator: Mediator, tokenizer: Any
) -> None:
    ids = chat(tokenizer, SHADOW)
    assert not mediator.judge(ids).decision.enforced
    assert mediator.judge(ids, found=["tidewater"]).answer is not None


def test_nothing_that_was_found_here_is_lost(mediator: Mediator, tokenizer: Any) -> None:
    ids = chat(tokenizer, PERSON)
    alone = mediator.judge(ids).decision
    both = mediator.judge(ids, found=["vessmere"]).decision
    assert [one.target for one in alone.enforced] == ["brennick"]
    assert both.findings[0] == alone.findings[0], "the strictest first"
    assert {one.target for one in both.enforced} == {"brennick", "vessmere"}
    assert both.scores == alone.scores


def test_a_target_is_there_once(mediator: Mediator, tokenizer: Any) -> None:
    decision = mediator.judge(chat(tokenizer, BOOK), found=["vessmere"]).decision
    assert [one.target for one in decision.findings] == ["vessmere"]


def test_a_target_that_nothing_can_be_done_about_stops_the_request(
    mediator: Mediator, tokenizer: Any
) -> None:
    with pytest.raises(DetectionError, match="a verdict names 1 targets that do not stand here"):
        mediator.judge(chat(tokenizer, HARMLESS), found=["nobody"])


def test_the_front_end_takes_it_from_the_gate(mediator: Mediator) -> None:
    frontend = Frontend(mediator, ENGINE, sealed=False)
    rendered = {
        "type": "token",
        "prompt_token_ids": frontend.tokenizer.encode(HARMLESS),
        "prompt": HARMLESS,
    }
    params = SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY)
    assert frontend.judged("cmpl-1", frontend.admit(rendered, params)).output is None
    token = found.set(frozenset({"brennick"}))
    try:
        settled = frontend.judged("cmpl-2", frontend.admit(rendered, params))
        with pytest.raises(Exception, match="could not judge"):
            found.set(frozenset({"nobody"}))
            frontend.judged("cmpl-3", frontend.admit(rendered, params))
    finally:
        found.reset(token)
    assert settled.output is not None
    assert frontend.counts["refuse"] == 1 and frontend.counts["failed"] == 1

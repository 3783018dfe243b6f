"""Our own server as an endpoint: its answers, and scores by either way."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.leakage.ask import Ask, Forced
from benchmarks.leakage.systems.endpoint import Connected
from benchmarks.leakage.systems.options import Remote
from guard.engine.settings import EVALUATION
from tests.engine.servers import MODEL, ready, serve
from tests.small import small_bundle

pytestmark = [pytest.mark.engine, pytest.mark.slow]

TOKEN = "LEAKAGE_TEST_TOKEN"
FRANCE, FLAGGED = "What is the capital of France?", "Who is Odalys Brennick?"


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A guarded server that scores for who knows the token."""
    token = secrets.token_hex(32)
    server = serve(
        small_bundle().path, tmp_path_factory.mktemp("log") / "log", **{EVALUATION: token}
    )
    with pytest.MonkeyPatch.context() as patch, ready(server):
        patch.setenv(TOKEN, token)
        yield Remote(f"{server.url}/v1", MODEL, token=TOKEN)


def test_all_forms_are_answered(remote: Remote, served: Path) -> None:
    begun = (
        {"role": "user", "content": FRANCE},
        {"role": "assistant", "content": "It is the city of"},
    )
    asks = [
        Ask(FRANCE, max_tokens=16), Ask(FRANCE, "tokens", max_tokens=16),
        Ask("The capital of France is", "completion", max_tokens=8), Ask(begun, max_tokens=4),
        Ask(FRANCE, samples=3, temperature=1.0, max_tokens=8), Ask("word " * 4000),
    ]  # fmt: skip
    with Connected(remote, str(served)) as running:
        chat, tokens, completion, on, samples, failed = running.ask(asks)
    assert chat == tokens and "Paris" in chat[0].text and "Paris" in completion[0].text
    assert on[0].text.startswith(" Paris") and len(samples) == 3
    assert failed[0].state == "failed"


def test_an_echo_scores_as_the_evaluation_mode_does(remote: Remote, served: Path) -> None:
    forced = [Forced(FRANCE, "It is Paris."), Forced("Once upon", " a time", passage=True)]
    with Connected(remote, str(served)) as running:
        scores = running.score([*forced, Forced(FLAGGED, "A glass artist.")])
    with Connected(replace(remote, token=None), str(served)) as running:
        echoed = running.score([*forced, Forced(FLAGGED, "A glass artist.")])
    assert scores[2] is None and echoed[2] is None, "a refusal"
    for score, echo in zip(scores[:2], echoed[:2], strict=True):
        assert score is not None and score == pytest.approx(echo, abs=1e-3)

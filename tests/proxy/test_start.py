"""What must hold before the first request: what cannot be enforced does not start."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from guard.cli import main
from guard.errors import BundleError, EngineError
from guard.guard import Guard
from guard.proxy.counting import Counter, local_counter
from guard.proxy.start import Settings, prepare
from tests.loras import write_lora
from tests.proxy.ask import WAYS, answer
from tests.proxy.bundles import ENDING, REFUSAL, compiled
from tests.proxy.conftest import Start
from tests.proxy.test_matrix import BOOK, EVERYDAY, LEAK, PERSON
from tests.proxy.upstream import ADAPTER, MODEL, Fake


@pytest.fixture(scope="session")
def corrupting(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    return Guard(compiled(tmp_path_factory.mktemp("corrupt"), "{kind: corrupt}"))


@pytest.fixture(scope="session")
def penalizing(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    """What is said of the person is switched to a refusal."""
    output = "{check: exact, on_hit: switch}"
    return Guard(compiled(tmp_path_factory.mktemp("penalize"), "{kind: penalize}", brennick=output))


async def test_what_http_cannot_do_does_not_start(start: Start, corrupting: Guard) -> None:
    with pytest.raises(EngineError, match=r"target vessmere: 'corrupt'.*--instead refuse"):
        await start(corrupting)


async def test_unless_it_is_to_be_refused_instead(
    start: Start, corrupting: Guard, fake: Fake
) -> None:
    async with await start(corrupting, instead=True) as client:
        said = await answer(client, WAYS["chat"], BOOK, stream=False)
    assert "don't have any information" in said
    assert "Vessmere" not in fake.told


async def test_phrases_are_banned_and_the_clients_own_with_them(
    start: Start, penalizing: Guard, fake: Fake
) -> None:
    async with await start(penalizing) as client:
        more = {"bad_words": ["damn"], "logit_bias": {"5": 100}}
        assert await answer(client, WAYS["chat"], BOOK, stream=False, **more) == fake.text
        banned = fake.body["bad_words"]
        assert {"Corisande", "Ablett"} <= set(banned)
        assert banned[-1] == "damn" and len(banned) <= 128
        await answer(client, WAYS["completions"], EVERYDAY, stream=False)
        assert "bad_words" not in fake.body


async def test_a_schema_without_the_field_is_closed_to_everybody(
    start: Start, penalizing: Guard
) -> None:
    async with await start(penalizing) as client:
        for way in (WAYS["responses"], WAYS["messages"]):
            assert (await client.post(way.path, json=way.body(EVERYDAY))).status_code == 404
    async with await start(penalizing, instead=True) as client:
        said = await answer(client, WAYS["messages"], BOOK, stream=False)
        assert "don't have any information" in said


async def test_phrases_need_a_vllm(start: Start, penalizing: Guard, fake: Fake) -> None:
    fake.owner = "somebody"
    with pytest.raises(EngineError, match="needs a vLLM upstream"):
        await start(penalizing)


async def test_a_switch_to_a_refusal_ends_the_answer(
    start: Start, penalizing: Guard, fake: Fake
) -> None:
    fake.pieces = LEAK
    async with await start(penalizing) as client:
        for stream in (False, True):
            said = await answer(client, WAYS["chat"], EVERYDAY, stream=stream)
            assert said.endswith(f"\n\n{REFUSAL}") and "Hal" not in said


async def test_an_adapter_answers_under_the_models_own_name(
    start: Start, tmp_path: Path, served: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.ladder.cache_folder", lambda: tmp_path / "cache")
    lora = write_lora(tmp_path / "lora", served)
    guard = Guard(compiled(tmp_path / "policy", f"{{kind: adapter, path: {lora}}}"))
    with pytest.raises(EngineError, match="give --adapter vessmere=NAME"):
        await start(guard)
    for wrong, message in (
        ("vessmere=nobody", "does not serve 'nobody'"),
        (f"nothing={ADAPTER}", "has no target 'nothing'"),
        ("vessmere", "TARGET=NAME"),
    ):
        with pytest.raises(EngineError, match=message):
            await start(guard, adapters=[wrong])
    async with await start(guard, adapters=[f"vessmere={ADAPTER}"]) as client:
        for way in WAYS.values():
            for stream in (False, True):
                body = {**way.body(BOOK), "stream": stream}
                response = await client.post(way.path, json=body)
                assert fake.body["model"] == ADAPTER
                assert ADAPTER not in response.text and MODEL in response.text


async def test_a_server_that_is_not_there_or_serves_something_else(
    start: Start, unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    fake.models = ("another",)
    with pytest.raises(EngineError, match=r"does not serve 'builtin:smollm2'.*--served-model-name"):
        await start(unread_guard)
    fake.models = ("llama", "other")
    async with await start(unread_guard, served=["llama"]) as client:
        listed = (await client.get("/v1/models")).json()["data"]
        assert [one["id"] for one in listed] == ["llama"]
    fake.key = "right"
    with pytest.raises(EngineError, match="GUARD_UPSTREAM_KEY"):
        await start(unread_guard)
    nowhere = Settings("http://127.0.0.1:9", unread_guard.bundle.path)
    with pytest.raises(EngineError, match="cannot be reached"):
        await prepare(nowhere, guard=unread_guard, counter=counter)
    with pytest.raises(EngineError, match="http://"):
        await prepare(Settings("localhost:9", Path("x")), guard=unread_guard, counter=counter)


async def test_a_key_is_not_lent_to_everybody(start: Start, unread_guard: Guard) -> None:
    with pytest.raises(EngineError, match="GUARD_PROXY_KEY"):
        await start(unread_guard, key="secret")


async def test_clients_show_the_proxys_key_and_the_server_its_own(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    fake.key = "upstream"
    async with await start(unread_guard, key="upstream", own="mine") as client:
        path, body = WAYS["chat"].path, WAYS["chat"].body(EVERYDAY)
        for shown in ("", "Bearer wrong", "Bearer upstream", "Bearer mine "):
            response = await client.post(path, json=body, headers={"authorization": shown})
            assert response.status_code == 401
        for headers in ({"authorization": "Bearer mine"}, {"x-api-key": "mine"}):
            response = await client.post(path, json=body, headers=headers)
            assert response.status_code == 200
        assert fake.asked[-1][2]["authorization"] == "Bearer upstream"
        assert "x-api-key" not in fake.asked[-1][2]


async def test_who_the_server_would_not_serve_learns_nothing_of_a_prompt(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    fake.key = "theirs"
    async with await start(unread_guard, key="theirs", pass_keys=True) as client:
        way = WAYS["chat"]
        for text in (EVERYDAY, PERSON, BOOK):
            response = await client.post(way.path, json=way.body(text))
            assert response.status_code == 401
        headers = {"authorization": "Bearer theirs"}
        response = await client.post(way.path, json=way.body(PERSON), headers=headers)
        assert REFUSAL in response.text


async def test_embeddings_are_judged_where_they_are_served(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    body: dict[str, Any] = {"model": "embedder", "input": [EVERYDAY]}
    async with await start(unread_guard) as client:
        assert (await client.post("/v1/embeddings", json=body)).status_code == 404
    async with await start(unread_guard, embeddings=["embedder"]) as client:
        response = await client.post("/v1/embeddings", json=body)
        assert response.json()["data"][0]["embedding"] == [0.5, 0.25]
        for text in (PERSON, BOOK):
            response = await client.post("/v1/embeddings", json={**body, "input": text})
            assert response.status_code == 400
        response = await client.post("/v1/embeddings", json={**body, "model": MODEL})
        assert response.status_code == 404
    assert len(fake.asked) == 1


def test_another_models_tokenizer_is_refused(
    unread_guard: Guard, tmp_path: Path, served: Path
) -> None:
    model = unread_guard.bundle.manifest.model
    assert local_counter(model, served).count("Hello there") == 2
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BundleError, match="another model"):
        local_counter(model, tmp_path)
    elsewhere = model.model_copy(update={"name": "somebody/model"})
    assert local_counter(elsewhere, None).tokenizer is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--upstream", "http://127.0.0.1:9"], "cannot be reached"),
        (["--upstream", "ftp://x"], "http://"),
        (["--upstream", "http://x", "--concurrency", "0"], "--concurrency"),
        (["--upstream", "http://x", "--connect-timeout", "0"], "timeouts"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(
    unread_guard: Guard, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert main(["proxy", "--bundle", str(unread_guard.bundle.path), *flags]) == 2
    line = capsys.readouterr().err
    assert line.startswith("guard: ") and line.count("\n") == 1 and message in line


async def test_it_tells_what_each_target_gets(
    unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    lines: list[str] = []
    transport = httpx.ASGITransport(app=fake)  # type: ignore[arg-type]
    settings = Settings("http://upstream", unread_guard.bundle.path)
    await prepare(settings, lines.append, guard=unread_guard, transport=transport, counter=counter)
    assert "target brennick (enforce): refuse" in lines
    assert "target vessmere (enforce): instruct" in lines
    assert "target tidewater (shadow): refuse" in lines
    assert "does not serve /v1/embeddings: no --embeddings model is given" in lines
    assert ENDING not in "".join(lines)


def test_a_bad_bundle_leaves_no_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit = tmp_path / "audit"
    flags = ["--upstream", "http://127.0.0.1:9", "--audit", str(audit)]
    assert main(["proxy", "--bundle", str(tmp_path / "none"), *flags]) == 2
    assert "none" in capsys.readouterr().err and not audit.exists()

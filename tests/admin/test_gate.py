"""Who shows no token learns nothing; who does is known by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from guard.admin.gate import MOST_BYTES, Gate
from guard.admin.page import OPEN
from guard.admin.tokens import Tokens, read_tokens
from guard.cli import main
from guard.errors import GuardError
from tests.admin.conftest import BEARER, OTHER, TOKEN, TOKENS, Make

ROUTES = [
    ("GET", "/guard/targets"), ("PUT", "/guard/targets/brennick"), ("GET", "/guard/status"),
    ("DELETE", "/guard/targets/brennick"), ("PUT", "/guard/targets/brennick/mode"),
    ("POST", "/guard/check"), ("POST", "/guard/calibrate"), ("GET", "/guard/decisions"),
    ("GET", "/guard/openapi.json"), ("POST", "/guard/ask"), ("GET", "/guard/audit"),
    ("GET", "/guard/nothing"), ("POST", "/guard/"), ("GET", "/"), ("GET", "/docs"),
    ("OPTIONS", "/guard/targets"), ("GET", "/guard/../guard/targets"), ("GET", "/guard//targets"),
]  # fmt: skip


@pytest.mark.parametrize(
    "shown",
    [
        None, "", "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Basic {TOKEN}",
        TOKEN, f"Bearer  {TOKEN}", "Bearer é" * 9,
    ],
)  # fmt: skip
def test_without_a_token_every_route_says_the_same(client: TestClient, shown: str | None) -> None:
    client.headers.pop("authorization")
    headers = {} if shown is None else {"authorization": shown.encode()}
    said = set()
    for method, path in ROUTES:
        reply = client.request(method, path, headers=headers)  # type: ignore[arg-type]
        kept = {name: v for name, v in reply.headers.items()}
        said.add((reply.status_code, reply.text, json.dumps(kept)))
    ((status, text, kept_headers),) = said
    assert status == 401 and json.loads(kept_headers)["www-authenticate"] == "Bearer"
    assert json.loads(text)["error"]["type"] == "authentication_error"


def test_every_route_but_the_page_is_behind_the_gate(client: TestClient) -> None:
    """Of whatever routes there are: a new one is not open by accident."""
    document = client.get("/guard/openapi.json").json()
    del client.headers["authorization"]
    for path, methods in document["paths"].items():
        for method in methods:
            status = client.request(method, path.replace("{id}", "brennick")).status_code
            assert status == (200 if path in OPEN else 401), (method, path)


def test_two_tokens_at_once_are_none(client: TestClient) -> None:
    headers = [("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")]
    client.headers.pop("authorization")
    assert client.get("/guard/status", headers=headers).status_code == 401


def test_what_is_open_holds_no_data_and_lets_nothing_in(client: TestClient) -> None:
    del client.headers["authorization"]
    for path in OPEN:
        reply = client.get(path, follow_redirects=True)
        assert reply.is_success and "brennick" not in reply.text
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and "http" not in policy
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in reply.headers
        assert "access-control-allow-origin" not in reply.headers
    page = client.get("/guard/").text
    assert "<script>" not in page and "style=" not in page and "://" not in page


def test_who_shows_which_token(client: TestClient) -> None:
    assert client.get("/guard/status").json()["who"] == "alex"
    kim = {"Authorization": f"bearer {OTHER}"}
    assert client.get("/guard/status", headers=kim).json()["who"] == "kim"


def test_comparing_looks_at_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time tells neither whether a token is known nor whose it is."""
    seen: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        seen.append((one, other))
        return one == other

    monkeypatch.setattr("hmac.compare_digest", compare)
    for given in (f"Bearer {TOKEN}", f"Bearer {OTHER}", "Bearer x", "", None):
        seen.clear()
        TOKENS.who(given)
        assert len(seen) == 2 and {len(part) for pair in seen for part in pair} == {32}


def test_a_body_that_is_too_large_is_refused(client: TestClient) -> None:
    reply = client.post("/guard/check", content=b"x" * (MOST_BYTES + 1))
    assert reply.status_code == 413


def test_what_goes_wrong_inside_stays_inside(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            raise RuntimeError("Odalys Brennick")

    client = TestClient(Gate(broken, TOKENS, ()), headers=BEARER)
    reply = client.get("/guard/targets")
    assert reply.status_code == 500 and "Odalys" not in reply.text
    assert "RuntimeError" in caplog.text and "Odalys" not in caplog.text


def test_wrong_requests_are_told_without_what_was_in_them(client: TestClient) -> None:
    for reply, status in (
        (client.get("/guard/nothing"), 404),
        (client.post("/guard/targets"), 405),
        (client.post("/guard/check", content=b"{"), 400),
        (client.post("/guard/check", json={"texts": [{"Odalys": 1}]}), 400),
        (client.post("/guard/check", json={"texts": ["x"], "Odalys": 1}), 400),
        (client.put("/guard/targets/..%2fx"), 404),
        (client.get("/guard/decisions?limit=Odalys"), 400),
    ):
        assert reply.status_code == status, reply.text
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        assert "Odalys" not in reply.json()["error"]["message"].replace("body.Odalys", "")


def test_the_api_is_documented(client: TestClient) -> None:
    document = client.get("/guard/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            assert about["summary"] and about["description"], (method, path)
    assert "IfMatch" not in str(document) and "If-Match" in str(document)


# Tokens.


def test_one_token_and_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_ADMIN_TOKEN", TOKEN)
    monkeypatch.setenv("GUARD_AUDIT_WHO", "robin")
    assert read_tokens().who(f"Bearer {TOKEN}") == "robin"
    assert read_tokens("sam").who(f"Bearer {TOKEN}") == "sam"


def test_several_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"alex": TOKEN, "kim": OTHER}))
    monkeypatch.setenv("GUARD_ADMIN_TOKENS", str(file))
    assert read_tokens().who(f"Bearer {OTHER}") == "kim"
    with pytest.raises(GuardError, match="--who goes with GUARD_ADMIN_TOKEN"):
        read_tokens("sam")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "JSON object"), ("[]", "JSON object"), ("{", "JSON object"),
        ('{"a": 1}', "JSON object"), ('{"a": "short"}', "tokens.json: a: has less than 32"),
        (json.dumps({"a": TOKEN, "b": TOKEN}), "one token"),
        (json.dumps({"a b": TOKEN}), "a name has"),
    ],
)  # fmt: skip
def test_wrong_files_of_tokens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "tokens.json"
    file.write_text(content)
    monkeypatch.setenv("GUARD_ADMIN_TOKENS", str(file))
    with pytest.raises(GuardError, match=said) as caught:
        read_tokens()
    assert TOKEN not in str(caught.value) and "short" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "GUARD_ADMIN_TOKEN is not set"),
        ({"GUARD_ADMIN_TOKEN": ""}, "less than 32"),
        ({"GUARD_ADMIN_TOKEN": "x" * 31}, "less than 32"),
        ({"GUARD_ADMIN_TOKEN": "é" * 40}, "less than 32"),
        ({"GUARD_ADMIN_TOKEN": TOKEN, "GUARD_ADMIN_TOKENS": "x"}, "both set"),
        ({"GUARD_ADMIN_TOKENS": "/nowhere"}, "cannot be read"),
    ],
)
def test_it_does_not_start_without_a_good_token(
    own: Path,
    policy: Path,
    environment: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["admin", "--bundle", str(own), "--policy", str(policy)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert said in line and "x" * 31 not in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"guarded": "http://a"}, "go together"),
        ({"guarded": "a", "unguarded": "http://b"}, "--guarded: give an http"),
        ({"endpoints": ["http://user:key@a"]}, "without keys"),
        ({"leakage": Path("/nowhere")}, "cannot be read"),
    ],
)
def test_wrong_options(make: Make, options: dict[str, Any], said: str) -> None:
    with pytest.raises(GuardError, match=said):
        make(**options)


def test_nobody_has_the_empty_token() -> None:
    assert Tokens({}).who("Bearer ") is None and Tokens({}).who(None) is None

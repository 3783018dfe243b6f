"""A bundle is given other tenants; whatever else changes it keeps them; all of it is recorded."""

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from guard.audit.changes import differences
from guard.bundle import Bundle, load_bundle
from guard.cli import main
from guard.errors import PolicyError
from guard.guard import Guard
from guard.policy import load_policy
from guard.recorder import Recorder
from guard.targets import list_targets, set_mode
from guard.tenancy import list_tenants, set_tenants
from guard.tenants import Caller, hashed
from tests.audit.test_chain import told
from tests.checks import small
from tests.tenants.bundles import ACME, ACMES, GLOBEX, NEW, compiled, tenanted


@pytest.fixture
def own(tenants_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tenants_bundle.path, tmp_path / "bundle"))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tenanted(tmp_path / "policy", brennick="{check: exact, on_hit: answer, answer: No.}")


def changed(policy: Path, old: str, new: str) -> Path:
    text = policy.read_text()
    assert old in text
    policy.write_text(text.replace(old, new))
    return policy


def whose(bundle: Bundle, key: str) -> str | None:
    return Guard(bundle).tenants.of(Caller.of_key(key.encode()))


def test_the_same_tenants_write_nothing(own: Path, policy: Path) -> None:
    before = load_bundle(own).version
    assert set_tenants(own, policy).version == before


def test_a_key_is_exchanged(own: Path, policy: Path) -> None:
    before = load_bundle(own)
    after = set_tenants(own, changed(policy, hashed(ACME), hashed(NEW)))
    assert (whose(before, ACME), whose(before, NEW)) == ("acme", None)
    assert (whose(after, ACME), whose(after, NEW)) == (None, "acme")
    assert after.manifest.targets == before.manifest.targets
    (one,) = differences("tenants set", before, after)
    assert (one.what, one.target, one.before, one.after) == (
        "tenants", "", before.version, after.version,
    )  # fmt: skip


def test_a_tenant_comes_and_modes_change(own: Path, policy: Path) -> None:
    changed(policy, "targets:\n", f"  - id: initech\n    keys: [{hashed(NEW)!r}]\ntargets:\n")
    changed(policy, "{globex: {mode: shadow}}", "{initech: {mode: shadow}}")
    before = load_bundle(own)
    after = set_tenants(own, policy)
    modes = {one["id"]: one["targets"] for one in list_tenants(own)}
    assert {id_: found["brennick"] for id_, found in modes.items()} == {
        "acme": "enforce", "globex": "enforce", "initech": "shadow",
    }  # fmt: skip
    found = {(one.what, one.target) for one in differences("x", before, after)}
    assert found == {("tenants", ""), ("tenants", "brennick")}


def test_without_tenants_it_is_as_older_versions_read_it(own: Path, policy: Path) -> None:
    text = policy.read_text()
    text = re.sub(r"tenants:\n  - id: acme.*?targets:", "targets:", text, flags=re.S)
    text = re.sub(r" *(tenants|per_tenant): [^\n]*\n", "", text)
    policy.write_text(text)
    after = set_tenants(own, policy)
    assert after.manifest.tenants == [] and after.manifest.format == 4
    assert "vessmere" in Guard(after).stands


def test_what_was_not_fitted_is_refused(own: Path, policy: Path) -> None:
    before = load_bundle(own).version
    with pytest.raises(
        PolicyError, match=r"vessmere: per_tenant\.acme\.intervene: .*guard compile"
    ):
        set_tenants(own, changed(policy, ACMES, "In other words."))
    assert load_bundle(own).version == before


def test_a_target_that_the_policy_lacks_keeps_its_tenants(own: Path, policy: Path) -> None:
    text = policy.read_text()
    start, end = text.index("  - id: vessmere"), text.index("  - id: tidewater")
    policy.write_text(text[:start] + text[end:])
    set_tenants(own, policy)
    text = policy.read_text()
    start, end = text.index("  - id: acme"), text.index("  - id: globex")
    policy.write_text(text[:start] + text[end:])
    with pytest.raises(PolicyError, match="target vessmere is for 'acme' too"):
        set_tenants(own, policy)


def test_another_mode_keeps_them(own: Path) -> None:
    before = load_bundle(own)
    after = set_mode(own, ["brennick"], "off")
    assert after.manifest.tenants == before.manifest.tenants
    brennick = next(one for one in list_targets(own) if one["id"] == "brennick")
    assert (brennick["mode"], brennick["tenants"]) == ("off", {"acme": "off", "globex": "shadow"})
    # Off for acme, and yet nobody gets it enforced: globex watches it.
    guard = Guard(after)
    assert "brennick" not in guard.for_tenant("acme").stands
    assert guard.stands["brennick"].mode == "enforce"


def test_targets_for_tenants_that_the_bundle_lacks_are_not_added(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = compiled(tmp_path / "first")
    main(["targets", "remove", "vessmere", "--bundle", str(bundle.path), "--quiet"])
    changed(policy, "id: acme", "id: initech")
    changed(policy, "tenants: [acme]", "tenants: [initech]")
    changed(policy, "{acme: ", "{initech: ")
    command = ["targets", "add", "vessmere", "--bundle", str(bundle.path), "--policy", str(policy)]
    capsys.readouterr()
    with small(tmp_path / "cache"):
        assert main(command) == 2
        assert "the bundle has no tenant 'initech'; `guard tenants set`" in capsys.readouterr().err
        changed(policy, "initech", "acme")
        assert main(command) == 0
    stands = Guard(load_bundle(bundle.path)).for_tenant("globex").stands
    assert "vessmere" not in stands


def test_the_command(
    own: Path, policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tenants", "list", "--bundle", str(own), "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert listed[1] == {
        "id": "globex", "keys": 1, "targets": {"brennick": "shadow", "tidewater": "shadow"},
    }  # fmt: skip
    changed(policy, hashed(GLOBEX), hashed(NEW))
    audit = tmp_path / "audit"
    command = ["tenants", "set", "--bundle", str(own), "--policy", str(policy)]
    assert main([*command, "--audit", str(audit)]) == 0
    assert "2 tenants" in capsys.readouterr().err
    records = told(audit)
    (found,) = [one.body for one in records if one.kind == "changed"]
    assert found["what"] == "tenants" and "target" not in found
    assert NEW not in str(records) and hashed(NEW) not in str(records)


def test_keys_are_made_and_hashed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tenants", "key"]) == 0
    made = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert hashed(made["key:"]) == made["hash:"] and len(made["key:"]) == 64
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ACME}\n"))
    assert main(["tenants", "key", "--stdin"]) == 0
    assert capsys.readouterr().out.strip() == hashed(ACME)
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert main(["tenants", "key", "--stdin"]) == 2
    said = capsys.readouterr()
    assert "less than 32 plain characters" in said.err and "short" not in said.err + said.out


def test_what_serves_says_how_it_stands_for_tenants(tenants_bundle: Bundle) -> None:
    events: list[Any] = []

    class Noted(Recorder):
        def __call__(self, event: Any, trace: Any = None) -> None:
            events.append(event)

    Noted().serving(tenants_bundle)
    assert events[0].tenants == {
        "brennick": {"acme": "enforce", "globex": "shadow"},
        "vessmere": {"acme": "enforce", "globex": "off"},
    }


def test_the_pages_example_is_a_policy(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tenants.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (tmp_path / "policy.yaml").write_text(example, "utf-8")
    policy = load_policy(tmp_path / "policy.yaml")
    assert [tenant.id for tenant in policy.tenants] == ["acme", "globex"]
    assert policy.targets[2].per_tenant["globex"].mode == "shadow"

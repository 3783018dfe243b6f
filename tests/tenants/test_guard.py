"""What is decided for whom; and nobody is never treated more laxly than anybody."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.bundle import FORMAT, MANIFEST, PLAIN, Bundle, load_bundle
from guard.cli import main
from guard.errors import BundleError, GuardError
from guard.guard import Guard
from guard.interventions.base import Intervention
from guard.manifest import Mode
from guard.standing import strictness
from guard.versions import new_version
from tests.tenants.bundles import ACMES, BOOK, PERSON, PROJECT, REFUSAL

MODES: tuple[Mode, ...] = ("off", "shadow", "enforce")
RANK = {mode: rank for rank, mode in enumerate(MODES)}


def decided(guard: Guard, text: str) -> tuple[str, str | None]:
    decision = guard.decide(text)
    return decision.action, decision.mode


def test_each_tenant_has_its_own(tenants_guard: Guard) -> None:
    found = {
        tenant: [
            decided(tenants_guard.for_tenant(tenant), text) for text in (PERSON, BOOK, PROJECT)
        ]
        for tenant in ("acme", "globex", None)
    }
    assert found == {
        "acme": [("refuse", "enforce"), ("refuse", "enforce"), ("allow", "shadow")],
        "globex": [("allow", "shadow"), ("allow", None), ("allow", "shadow")],
        None: [("refuse", "enforce"), ("refuse", "enforce"), ("refuse", "enforce")],
    }
    assert tenants_guard.tenant is None and tenants_guard.decide(PERSON).tenant is None
    assert tenants_guard.for_tenant("acme").decide(PERSON).tenant == "acme"


def test_a_refusal_in_the_tenants_words(tenants_guard: Guard) -> None:
    def message(tenant: str | None, target: str) -> str:
        (one,) = tenants_guard.for_tenant(tenant).interventions_of(target)
        options: Any = one.options
        return str(options.message)

    assert message("acme", "vessmere") == ACMES == message(None, "vessmere")
    assert message("acme", "brennick") == REFUSAL == message("globex", "brennick")


def test_answers_are_checked_as_prompts_are(tenants_guard: Guard) -> None:
    modes = {
        tenant: {
            id_: rule.mode for id_, rule in tenants_guard.for_tenant(tenant).output.rules.items()
        }
        for tenant in ("acme", "globex", None)
    }
    assert modes["globex"] == {"brennick": "shadow"}
    assert modes["acme"] == modes[None] == {"brennick": "enforce"}
    assert tenants_guard.for_tenant("acme").output is tenants_guard.output  # once in memory


def test_a_tenant_that_there_is_not(tenants_guard: Guard) -> None:
    with pytest.raises(GuardError, match=r"has no tenant 'initech' \(it has: acme, globex\)"):
        tenants_guard.for_tenant("initech")
    with pytest.raises(GuardError, match=r"has no tenant 'acme' \(it has: none\)"):
        Guard(untenanted(tenants_guard.bundle)).for_tenant("acme")


def untenanted(bundle: Bundle) -> Bundle:
    targets = [
        one.model_copy(update={"tenants": None, "per_tenant": {}})
        for one in bundle.manifest.targets
    ]
    manifest = bundle.manifest.model_copy(update={"tenants": [], "targets": targets})
    return replace(bundle, manifest=manifest)


def test_without_tenants_modes_are_as_written(tenants_guard: Guard) -> None:
    guard = Guard(untenanted(tenants_guard.bundle))
    assert decided(guard, PERSON) == ("refuse", "enforce")
    assert decided(guard, BOOK) == ("instruct", "enforce")
    assert decided(guard, PROJECT) == ("allow", "shadow")
    assert guard.for_tenant(None) is guard and guard.decide(PERSON).tenant is None


def strictest(interventions: tuple[Intervention, ...]) -> int:
    return strictness(interventions)


@given(
    mode=st.sampled_from(MODES),
    names=st.one_of(st.none(), st.sets(st.sampled_from(["acme", "globex"]), min_size=1)),
    others=st.dictionaries(
        st.sampled_from(["acme", "globex"]),
        st.tuples(st.one_of(st.none(), st.sampled_from(MODES)), st.booleans()),
    ),
)
def test_nobody_is_treated_as_the_strictest(
    tenants_bundle: Bundle,
    mode: Mode,
    names: set[str] | None,
    others: dict[str, tuple[Mode | None, bool]],
) -> None:
    """Whatever the policy: to show no key, or a wrong one, never gains anything."""
    records = []
    for target in tenants_bundle.manifest.targets:
        if target.id == "vessmere":
            refusal = target.per_tenant["acme"].interventions
            per_tenant = {
                id_: target.per_tenant["acme"].model_copy(
                    update={"mode": other, "interventions": refusal if refuses else None}
                )
                for id_, (other, refuses) in others.items()
            }
            update = {"mode": mode, "tenants": sorted(names) if names else None}
            target = target.model_copy(update={**update, "per_tenant": per_tenant})
        records.append(target)
    manifest = tenants_bundle.manifest.model_copy(update={"targets": records})
    guard = Guard(replace(tenants_bundle, manifest=manifest))
    nobodys = guard.stands.get("vessmere")
    for tenant in guard.tenants.ids:
        stand = guard.for_tenant(tenant).stands.get("vessmere")
        if stand is not None:
            assert nobodys is not None and nobodys.mode == "enforce"
            for mine, theirs in product(nobodys.bands, stand.bands):
                assert strictest(mine) >= strictest(theirs)
    everywhere_off = nobodys is None
    assert everywhere_off == (mode == "off" and not any(
        "vessmere" in guard.for_tenant(tenant).stands for tenant in guard.tenants.ids
    ))  # fmt: skip


def test_the_format_says_that_there_are_tenants(tenants_bundle: Bundle, tmp_path: Path) -> None:
    """A version that knows none refuses it; of what has none it reads every byte as before."""
    told = json.loads((tenants_bundle.path / MANIFEST).read_bytes())
    assert told["format"] == FORMAT > PLAIN and len(told["tenants"]) == 2
    plain = untenanted(tenants_bundle)
    records = [one.model_dump() for one in plain.manifest.targets]
    written = new_version(plain, tmp_path / "plain", records, {})
    told = json.loads((written.path / MANIFEST).read_bytes())
    assert told["format"] == PLAIN and "tenants" not in told
    assert all(not {"tenants", "per_tenant"} & target.keys() for target in told["targets"])
    assert load_bundle(written.path).manifest.tenants == []


def test_a_bundle_whose_keys_are_none(tenants_bundle: Bundle) -> None:
    broken = tenants_bundle.manifest.tenants[0].model_copy(update={"keys": ["sha256:xyz"]})
    manifest = tenants_bundle.manifest.model_copy(update={"tenants": [broken]})
    with pytest.raises(BundleError, match="bundle"):
        Guard(replace(tenants_bundle, manifest=manifest))


def test_check_for_a_tenant(tenants_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = str(tenants_bundle.path)
    found = {}
    for more in ([], ["--tenant", "acme"], ["--tenant", "globex"]):
        assert main(["check", "--bundle", bundle, "--json", *more, BOOK]) == 0
        told = json.loads(capsys.readouterr().out)
        found[told.get("tenant")] = told["action"], told["flagged"]
    assert found == {None: ("refuse", True), "acme": ("refuse", True), "globex": ("allow", False)}
    assert main(["check", "--bundle", bundle, "--tenant", "initech", BOOK]) == 2
    assert "has no tenant 'initech'" in capsys.readouterr().err
    answer = ["--answer", "She won the Halvorsen Medal in 1998.", "--question", PERSON]
    for tenant, action in (("acme", "answer"), ("globex", "allow")):
        command = ["check", "--bundle", bundle, "--json", "--tenant", tenant, *answer]
        assert main(command) == 0
        assert json.loads(capsys.readouterr().out)["action"] == action

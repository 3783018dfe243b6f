"""A guardrail takes a new bundle without a restart; answers keep to what judged their prompts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from guard.errors import EngineError
from guard.guard import Guard
from guard.guardrail.app import make_app
from guard.guardrail.edition import Edition
from guard.guardrail.service import Service
from guard.proxy.renewing import reloader
from guard.versions import new_version
from tests.guardrail.conftest import Events
from tests.guardrail.gateway import KEY, Gateway, Stopped, user
from tests.proxy.bundles import ENDING, REFUSAL, SECRET
from tests.proxy.test_matrix import EVERYDAY, PERSON

LEAK = f"She won the {SECRET} in 1998."


class Kept:
    """A guardrail whose bundle can be exchanged."""

    def __init__(self, reading: Guard, events: Events, folder: Path) -> None:
        self.folder, self.guard = folder, reading
        self.targets: Any = [one.model_dump() for one in reading.bundle.manifest.targets]
        self.write()
        self.service = Service(Edition.of(Guard.load(folder), instead=False), events)
        self.looks = reloader(self.service, folder, events, 1.0)
        transport = httpx.ASGITransport(app=make_app(self.service, KEY))
        self.gateway = Gateway(httpx.AsyncClient(transport=transport, base_url="http://guardrail"))

    def write(self) -> str:
        return new_version(self.guard.bundle, self.folder, self.targets, {}).version

    def say(self, refusal: str, ending: str) -> None:
        one = next(one for one in self.targets if one["id"] == "brennick")
        one["interventions"][0]["options"]["message"] = refusal
        one["output"]["answer"] = ending


@pytest.fixture
def kept(reading: Guard, events: Events, tmp_path: Path) -> Kept:
    return Kept(reading, events, tmp_path / "bundle")


async def test_what_replaces_the_folder_is_served(kept: Kept, events: Events) -> None:
    assert kept.looks.look() == "same"
    with pytest.raises(Stopped, match=REFUSAL):
        await kept.gateway.pre_call([user(PERSON)])
    worker = kept.service.worker
    kept.say("I never met them.", "Enough.")
    version = kept.write()
    assert kept.looks.look() == "served" and kept.service.worker is worker
    with pytest.raises(Stopped, match="I never met them"):
        await kept.gateway.pre_call([user(PERSON)])
    assert [one.bundle for one in events.events][-1] == version


async def test_an_answer_is_checked_by_what_judged_its_prompt(kept: Kept, events: Events) -> None:
    await kept.gateway.pre_call([user(EVERYDAY)], "before")
    before = kept.service.edition.version
    kept.say("I never met them.", "Enough.")
    after = kept.write()
    assert kept.looks.look() == "served"
    await kept.gateway.pre_call([user(EVERYDAY)], "after")
    for call, ending, version in (
        ("before", ENDING, before), ("after", "Enough", after), ("unknown", "Enough", after)
    ):  # fmt: skip
        with pytest.raises(Stopped, match=ending):
            await kept.gateway.post_call(LEAK, call=call)
        assert events.events[-1].bundle == version


async def test_what_is_unsound_is_refused(kept: Kept) -> None:
    before = kept.service.edition
    (kept.folder / "manifest.json").write_text("{}", "utf-8")
    assert kept.looks.look() == "refused"
    with pytest.raises(Stopped, match=REFUSAL):
        await kept.gateway.pre_call([user(PERSON)])
    assert kept.service.edition is before


def test_what_it_cannot_do_or_is_for_another_model_is_refused(
    kept: Kept, corrupting: Guard
) -> None:
    with pytest.raises(EngineError, match="--instead refuse"):
        kept.service.edition.renewed(corrupting)
    manifest = kept.guard.bundle.manifest
    model = manifest.model.model_copy(update={"sha256": "0" * 64})
    other = replace(kept.guard.bundle, manifest=manifest.model_copy(update={"model": model}))
    with pytest.raises(EngineError, match="start another guardrail"):
        kept.service.edition.renewed(Guard(other))

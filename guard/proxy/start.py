"""What must hold before the first request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from guard.errors import EngineError
from guard.guard import Guard
from guard.handover import KEY as VERDICT_KEY
from guard.handover import Handover
from guard.proxy.counting import Counter, local_counter
from guard.proxy.edition import Edition, Terms
from guard.proxy.enforcement import Means
from guard.proxy.models import Catalogue
from guard.proxy.pipeline import Pipeline
from guard.proxy.upstream import Patience, Upstream
from guard.recorder import Recorder

Report = Callable[[str], None]

UPSTREAM_KEY = "GUARD_UPSTREAM_KEY"
PROXY_KEY = "GUARD_PROXY_KEY"


@dataclass(frozen=True)
class Settings:
    """What an operator says.

    Attributes:
        upstream: The server's address.
        bundle: The bundle's folder.
        served: What the server calls the bundle's model; as the bundle does, without.
        adapters: ``target=name`` of adapters that the server has loaded.
        instead: Whether what HTTP cannot do is replaced by a refusal.
        embeddings: Models for embeddings.
        tokenizer: The served model's folder.
        pass_keys: Whether clients' keys are passed on though the proxy has one.
        most: How many requests are served at once.
        patience: How long the server is waited for.
        goes_on: Whether the server can be asked to go on with an answer that has begun.
        key: What the proxy shows the server.
        own: What clients must show the proxy.
        handover: Signs verdicts for a guarded engine behind; None where the server is none.
    """

    upstream: str
    bundle: Path
    served: Sequence[str] = ()
    adapters: Sequence[str] = ()
    instead: bool = False
    embeddings: Sequence[str] = ()
    tokenizer: Path | None = None
    pass_keys: bool = False
    most: int = 256
    patience: Patience = field(default_factory=Patience)
    goes_on: bool = False
    key: str | None = field(default=None, repr=False)
    own: str | None = field(default=None, repr=False)
    handover: Handover | None = field(default=None, repr=False)


async def prepare(
    settings: Settings,
    report: Report = lambda line: None,
    *,
    guard: Guard | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    counter: Counter | None = None,
    recorder: Recorder | None = None,
) -> Pipeline:
    """Settles and proves everything; what cannot be enforced does not start.

    Args:
        settings: What the operator says.
        report: Is told what there is, a line at a time.
        guard: The guard where it is loaded already.
        transport: In place of the network, for tests.
        counter: Counts tokens, where one is there already.
        recorder: Is told of what is decided and done; as the environment says without.

    Raises:
        GuardError: Something does not hold; names it and its mend.
    """
    guard = guard or Guard.load(settings.bundle)
    manifest = guard.bundle.manifest
    key, own = settings.key, settings.own
    if key is not None and own is None and not settings.pass_keys:
        raise EngineError(
            f"{UPSTREAM_KEY} would be lent to everybody: set {PROXY_KEY}, which clients must show, "
            "or give --pass-keys to have their own keys passed on"
        )
    if own is not None and settings.pass_keys:
        raise EngineError(
            f"{PROXY_KEY} and --pass-keys: a client shows one key; give the one or the other"
        )
    if not settings.upstream.startswith(("http://", "https://")):
        raise EngineError(f"--upstream {settings.upstream}: give an http:// or https:// address")
    adapters = dict(_pair(one) for one in settings.adapters)
    served = tuple(settings.served) or (manifest.model.name,)
    # Where clients show the proxy's own key, that is nobody else's business.
    connected = partial(
        Upstream, settings.upstream, patience=settings.patience, most=settings.most,
        transport=transport, passes=own is None, handover=settings.handover,
    )  # fmt: skip
    asking = connected(key=key)
    try:
        listed = await asking.models()
        if settings.handover is not None and not await asking.heeds():
            raise EngineError(
                f"{asking.url}: is no guarded engine that heeds verdicts: start `guard serve` with "
                f"the same {VERDICT_KEY}, or start the proxy without it"
            )
    except BaseException:
        await asking.aclose()
        raise
    names = {one["id"]: one for one in listed}
    for flag, wanted in (
        ("--served-model-name", served),
        ("--adapter", adapters.values()),
        ("--embeddings", settings.embeddings),
    ):
        for name in wanted:
            if name not in names:
                raise EngineError(
                    f"{asking.url}: does not serve {name!r} (it has: {', '.join(names)}); give "
                    f"{flag} as the server calls it"
                )
    vllm = names[served[0]].get("owned_by") == "vllm"
    if settings.goes_on and not vllm:
        raise EngineError("--continue-final-message: needs a vLLM upstream, for its 'bad_words'")
    means = Means(adapters, settings.instead, vllm, settings.handover is not None)
    counter = counter or local_counter(manifest.model, settings.tokenizer)
    recorder = recorder or Recorder.from_environment("proxy")
    window = names[served[0]].get("max_model_len")
    window = window if isinstance(window, int) else None
    terms = Terms(means, counter, recorder, bool(settings.embeddings), window)
    edition = Edition.of(guard, terms)
    upstream = asking
    if settings.pass_keys:
        await asking.aclose()
        upstream = connected(key=None)
    for line in edition.report():
        report(line)
    if counter.tokenizer is None:
        report("token counts of edited prompts are estimates; --tokenizer makes them exact")
    guard.warm()
    recorder.serving(guard.bundle)
    catalogue = Catalogue(upstream, served, settings.embeddings)
    return Pipeline(edition, upstream, catalogue, own, settings.most, goes_on=settings.goes_on)


def _pair(given: str) -> tuple[str, str]:
    target, equals, name = given.partition("=")
    if not (target and equals and name):
        raise EngineError(f"--adapter {given}: give TARGET=NAME")
    return target, name

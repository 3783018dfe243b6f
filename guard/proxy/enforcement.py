"""What a bundle's targets get over HTTP, settled before the first request."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guard.decision import Decision
from guard.detectors.base import Vectors
from guard.errors import EngineError, InterventionError
from guard.guard import Guard
from guard.interventions import adapter, instruct, penalize, refuse
from guard.interventions.base import Answer, Intervention, Request
from guard.view import View

REFUSE, INSTRUCT, PENALIZE, ADAPTER = "refuse", "instruct", "penalize", "adapter"
_OURS: Mapping[str, type[Intervention]] = {
    REFUSE: refuse.Refuse,
    INSTRUCT: instruct.Instruct,
    PENALIZE: penalize.Penalize,
    ADAPTER: adapter.Adapt,
}


@dataclass(frozen=True)
class Instruction:
    """A text to be put into a prompt.

    Attributes:
        text: What the model is told.
        where: ``user``: before what the user said last; ``system``: behind the system text.
    """

    text: str
    where: str


@dataclass(frozen=True)
class Edit:
    """What is done to a body.

    Attributes:
        answer: The finished answer; then nothing else is done.
        instructions: What is put into the prompt.
        bad_words: What the answer must not say.
        model: The model that answers in place of the one that was asked.
        found: The targets that a guarded engine behind is told of, which does the rest.
    """

    answer: str | None = None
    instructions: tuple[Instruction, ...] = ()
    bad_words: tuple[str, ...] = ()
    model: str | None = None
    found: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Means:
    """What the operator gives beside the bundle.

    Attributes:
        adapters: A target's id to the name of the adapter that the upstream server has for it.
        instead: Whether what HTTP cannot do is replaced by a refusal.
        vllm: Whether the upstream server is vLLM, which takes ``bad_words``.
        hands: Whether the upstream server is a guarded one that heeds verdicts (`guard.handover`).
    """

    adapters: Mapping[str, str] = field(default_factory=dict)
    instead: bool = False
    vllm: bool = True
    hands: bool = False


class Enforcement:
    """How what was decided is told to a server over HTTP.

    Args:
        guard: The guard.
        means: What the operator gives.

    Raises:
        EngineError: An enforced target's intervention cannot be done; names target and mend.
    """

    def __init__(self, guard: Guard, means: Means) -> None:
        self.guard = guard
        self.means = means
        self._model = _Texts(guard)
        known = {target.id for target in guard.bundle.manifest.targets}
        for target in means.adapters:
            if target not in known:
                raise EngineError(
                    f"--adapter {target}=…: the bundle has no target {target!r} (it has: "
                    f"{', '.join(sorted(known))})"
                )
        for target, mode, kinds in self._bands():
            missing = [kind for kind in kinds if not self._can(target, kind)]
            if mode == "enforce" and missing and not means.instead:
                raise EngineError(_mend(target, missing[0]))

    def closed(self, carries: frozenset[str]) -> str | None:
        """Why a schema cannot be served; None where it can.

        Args:
            carries: The interventions that the schema has fields for.
        """
        if self.means.instead or self.means.hands:
            return None
        for target, mode, kinds in self._bands():
            for kind in kinds:
                if mode == "enforce" and kind != REFUSE and kind not in carries:
                    return f"it has no field for {kind!r} of target {target}"
        return None

    def edit(self, decision: Decision, view: View, carries: frozenset[str]) -> Edit:
        """What is done about a decision.

        Args:
            decision: What was decided; something in it is enforced.
            view: What was judged.
            carries: The interventions that the schema has fields for.

        Raises:
            InterventionError: An intervention would change nothing.
        """
        if self.means.hands:
            return self._handed(decision, view)
        request = Request((), view, (), 0)
        instructions: dict[Instruction, None] = {}
        model: str | None = None
        for finding in decision.enforced:
            band = self.guard.interventions_for(finding)
            if not all(self._can(finding.target, one.kind, carries) for one in band):
                return Edit(answer=_refusal())
            for one in band:
                if one.kind == INSTRUCT:
                    instructions[Instruction(one.options.text(), one.options.where)] = None
                elif one.kind == ADAPTER:
                    model = model or self.means.adapters[finding.target]
                else:
                    edited = one.apply(request, finding, self._model)
                    if isinstance(edited, Answer):
                        return Edit(answer=edited.text)
                    request = edited
        words = penalize.bad_words(request.steering.get(penalize.KIND, ()))
        if not (instructions or words or model):
            raise InterventionError("an enforced intervention changed nothing")
        return Edit(None, tuple(instructions), tuple(words), model)

    def _handed(self, decision: Decision, view: View) -> Edit:
        """What is done where a guarded engine does it: refusals are given here all the same."""
        for finding in decision.enforced:
            for one in self.guard.interventions_for(finding):
                if one.kind == REFUSE:
                    edited = one.apply(Request((), view, (), 0), finding, self._model)
                    assert isinstance(edited, Answer)
                    return Edit(answer=edited.text)
        return Edit(found=frozenset(finding.target for finding in decision.enforced))

    def finished(self, target: str, view: View) -> str | None:
        """The text that ends an answer about a target (``on_hit: switch``); None without one."""
        for one in self.guard.interventions_of(target):
            if one.kind == REFUSE:
                return str(one.options.message)
        return None

    def report(self) -> Iterator[str]:
        """What each target gets, a line each."""
        rules = self.guard.output.rules
        for target, stand in self.guard.stands.items():
            bands = [kinds for name, _, kinds in self._bands() if name == target]
            told = " or ".join(dict.fromkeys(self._told(target, kinds) for kinds in bands))
            rule = rules.get(target)
            read = f"; answers are read: {rule.on_hit}" if rule is not None else ""
            yield f"target {target} ({stand.mode}): {told or 'prompts are not judged'}{read}"

    def _told(self, target: str, kinds: Sequence[str]) -> str:
        if self.means.hands and REFUSE not in kinds:
            return f"{'+'.join(kinds)} (by the engine behind)"
        if not all(self._can(target, kind) for kind in kinds):
            return f"refuse in place of {'+'.join(kinds)}"
        named = {PENALIZE: "penalize (as bad_words)"}
        if target in self.means.adapters:
            named[ADAPTER] = f"adapter ({self.means.adapters[target]})"
        return "+".join(named.get(kind, kind) for kind in kinds)

    def _bands(self) -> Iterator[tuple[str, str, list[str]]]:
        """Target, mode and kinds of all that may be done about prompts."""
        for target, stand in self.guard.detected.items():
            for band in stand.bands:
                yield target, stand.mode, [one.kind for one in band]

    def _can(self, target: str, kind: str, carries: frozenset[str] | None = None) -> bool:
        if kind == REFUSE or self.means.hands:
            return True
        if kind not in _OURS or (carries is not None and kind not in carries):
            return False
        if kind == ADAPTER:
            return target in self.means.adapters
        return kind != PENALIZE or self.means.vllm


class _Texts:
    """The served model, as far as it is known here: by its texts."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def embed(self, token_ids: Sequence[int]) -> Any:
        raise InterventionError("embeddings cannot be sent over HTTP")

    def tokenize(self, text: str) -> list[int]:
        raise InterventionError("tokens cannot be sent over HTTP")

    def encode(self, texts: Sequence[str]) -> Vectors:
        return self._guard.encoder(texts)


def _refusal() -> str:
    return refuse.RefuseOptions().message


def _mend(target: str, kind: str) -> str:
    if kind == ADAPTER:
        mend = f"give --adapter {target}=NAME, an adapter that the upstream server has loaded"
    elif kind == PENALIZE:
        mend = "needs a vLLM upstream, for its 'bad_words'"
    else:
        mend = "use `guard serve` (behind it too, with GUARD_VERDICT_KEY), or another 'intervene'"
    return (
        f"target {target}: {kind!r} cannot be done over HTTP; {mend}, "
        "or give --instead refuse to have such prompts refused"
    )

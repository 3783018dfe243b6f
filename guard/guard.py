"""The guard itself: a loaded bundle that decides about texts, without any engine."""

import copy
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from guard.batching import BundleEncoder
from guard.bundle import Bundle, load_bundle
from guard.decision import Decision, Finding, Score
from guard.detectors import DETECTORS
from guard.detectors.base import Placed
from guard.detectors.detection import Detection, placed, shared_parts
from guard.errors import DetectionError, GuardError
from guard.fitted import unusable
from guard.handover import DETECTOR
from guard.interventions.base import Adapter, Intervention
from guard.manifest import Mode
from guard.output.outputs import Output
from guard.standing import Band, Standing, Stands, stands_of, strictness
from guard.tenants import Tenants
from guard.view import View


@dataclass(frozen=True)
class _Whole:
    """All that stands for one tenant.

    Attributes:
        stands: The targets, and how they stand.
        undetected: Those that no prompts are judged for.
        output: How answers are checked.
    """

    stands: Stands
    undetected: Set[str]
    output: Output


class Guard:
    """Decides which targets a text touches, and what is to be done about it.

    Use `Guard.load`. An instance is immutable and may be used from several threads.

    Attributes:
        bundle: What it was loaded from.
        encoder: The sentence encoder.
        tenants: Who may be told apart.
        tenant: Whom it decides for; None for whoever is no tenant.
        stands: The targets that stand for them, and how.
        output: How answers are checked; falsy where they are not.
    """

    def __init__(self, bundle: Bundle, before: "Guard | None" = None) -> None:
        self.bundle = bundle
        manifest = bundle.manifest
        encoder = BundleEncoder(manifest.encoder.name, manifest.encoder.sha256)
        if before is not None and before.bundle.manifest.encoder == manifest.encoder:
            encoder = before.encoder
        self.encoder: BundleEncoder = encoder
        standings: dict[str, Standing] = {}
        stages: dict[str, dict[str, Placed]] = {}
        for target in manifest.targets:
            try:
                standing = Standing(target, bundle)
                if not standing.stands:
                    continue
                standings[target.id] = standing
                for detector, part in placed(target.stages, bundle.arrays).items():
                    DETECTORS.get(detector)  # named with its target when it is not installed
                    stages.setdefault(detector, {})[target.id] = part
            except (GuardError, ValueError, KeyError) as error:
                raise unusable(bundle, error, target.id) from None
        self._interventions = tuple(i for one in standings.values() for i in one.interventions)
        try:
            self._detection = Detection(stages, shared_parts(bundle), self.encoder)
            self.tenants = Tenants({one.id: one.keys for one in manifest.tenants}, bundle.path)
        except (GuardError, ValueError, KeyError) as error:
            raise unusable(bundle, error) from None
        undetected = {target.id for target in manifest.targets if not target.stages}
        outputs: dict[frozenset[tuple[str, Mode]], Output] = {}
        self._wholes: dict[str | None, _Whole] = {}
        for tenant in (None, *self.tenants.ids):
            stands = stands_of(standings, tenant)
            modes = {
                target.id: stands[target.id].mode
                for target in manifest.targets
                if target.id in stands and target.output is not None
            }
            # What reads answers alike for several tenants is in memory once.
            key = frozenset(modes.items())
            if key not in outputs:
                outputs[key] = Output(bundle, modes)
            self._wholes[tenant] = _Whole(stands, stands.keys() & undetected, outputs[key])
        self._stand(None)

    def _stand(self, tenant: str | None) -> None:
        """Makes it decide for a tenant, before anybody uses it."""
        self.tenant, whole = tenant, self._wholes[tenant]
        self.stands, self._undetected, self.output = whole.stands, whole.undetected, whole.output

    @classmethod
    def load(cls, path: str | Path, before: "Guard | None" = None) -> "Guard":
        """Loads a bundle.

        Args:
            path: Its folder.
            before: A guard whose encoder is used, where it is the bundle's.

        Raises:
            BundleError: It is missing, damaged, foreign or newer than this version.
        """
        return cls(load_bundle(path), before)

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.bundle.version

    def for_tenant(self, tenant: str | None) -> "Guard":
        """Returns a guard that decides for a tenant, and shares all that is large with this one.

        Args:
            tenant: The tenant; None for whoever is none, for whom everything stands, and strictest.

        Raises:
            GuardError: The bundle has no such tenant.
        """
        if tenant == self.tenant:
            return self
        guard = copy.copy(self)
        guard._stand(None if tenant is None else self.tenants.known(tenant))
        return guard

    @property
    def interventions(self) -> tuple[Intervention, ...]:
        """Every intervention of every target that is not off, for whomever."""
        return self._interventions

    @property
    def detected(self) -> Stands:
        """The targets that prompts are judged for, and how they stand."""
        return {id_: one for id_, one in self.stands.items() if id_ not in self._undetected}

    def interventions_for(self, finding: Finding) -> Band:
        """What is done about a finding, in this order."""
        stand = self.stands[finding.target]
        return stand.doubtful if finding.score.doubtful else stand.sure

    def doubted(self, decision: Decision | None) -> frozenset[str]:
        """The targets that an answer may be about, as far as its prompt tells.

        Args:
            decision: What was decided about the prompt; None where nothing was.

        Returns:
            Those that the prompt came near to, and those whose prompts are not judged at all
            (policy ``detect: off``): of them nothing is known before the answer.
        """
        near = frozenset[str]() if decision is None else decision.doubted
        return near | self._undetected

    def interventions_of(self, target: str) -> Band:
        """What is done about a target where there is no doubt, in this order."""
        return self.stands[target].sure

    @property
    def engine_args(self) -> dict[str, Any]:
        """Engine arguments that the bundle needs; see `Intervention.engine_args`."""
        args: dict[str, Any] = {}
        needed = [one.engine_args for one in self.interventions]
        checked = [whole.output.engine_args for whole in self._wholes.values()]
        for some in (*needed, *checked):
            for name, value in some.items():
                held = args.get(name, value)
                if isinstance(value, list):
                    value = [*held, *(one for one in value if one not in held)]
                elif isinstance(value, int) and not isinstance(value, bool):
                    value = max(held, value)
                args[name] = value
        return args

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """Every adapter that a request may be given."""
        return tuple(adapter for one in self.interventions for adapter in one.adapters)

    def warm(self) -> None:
        """Loads what is loaded on demand otherwise, so that no request has to wait for it."""
        self.encoder(["warm"])
        self._detection.warm()

    def decide(self, prompt: str | Sequence[Mapping[str, Any]] | View) -> Decision:
        """Decides about a text, chat messages, or a view of a rendered prompt.

        Raises:
            DetectionError: A detector failed; the request must not be answered.
        """
        if isinstance(prompt, str):
            view = View.of_text(prompt)
        else:
            view = prompt if isinstance(prompt, View) else View.of_messages(prompt)
        best = self._detection(view, frozenset(self.stands))
        findings = [self._finding(target, score) for target, score in best.items() if score.flags]
        findings.sort(key=self._rank, reverse=True)
        return Decision(tuple(findings), self.version, tuple(sorted(best.items())), self.tenant)

    def plus(
        self, decision: Decision, targets: Collection[str], span: tuple[int, int] | None = None
    ) -> Decision:
        """Adds to a decision what was found elsewhere; it is enforced, whatever its mode here is.

        Args:
            decision: What was decided here.
            targets: The targets that a proxy has found (`guard.handover`).
            span: Where in the text they are taken to be.

        Raises:
            DetectionError: One of them does not stand here, so that nothing could be done.
        """
        if unknown := set(targets) - self.stands.keys():
            raise DetectionError(f"a verdict names {len(unknown)} targets that do not stand here")
        score = Score(1.0, 0.0, DETECTOR, span)
        findings = [one for one in decision.findings if one.target not in targets]
        for target in targets:
            findings.append(replace(self._finding(target, score), mode="enforce"))
        findings.sort(key=self._rank, reverse=True)
        return replace(decision, findings=tuple(findings))

    def _finding(self, target: str, score: Score) -> Finding:
        stand = self.stands[target]
        kinds = (one.kind for one in (stand.doubtful if score.doubtful else stand.sure))
        return Finding(target, score, stand.mode, "+".join(kinds))

    def _rank(self, finding: Finding) -> tuple[bool, int, float]:
        strict = strictness(self.interventions_for(finding))
        return finding.mode == "enforce", strict, finding.score.margin

"""All that a request is served by of one version of a bundle, in one record."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from guard.bundle import Bundle
from guard.engine.worker import Worker
from guard.guard import Guard
from guard.proxy.counting import Counter
from guard.proxy.enforcement import Enforcement, Means
from guard.proxy.judging import Judge
from guard.proxy.renewing import check_same_model
from guard.proxy.routes import Routes
from guard.recorder import Recorder
from guard.tenants import Caller


@dataclass(frozen=True)
class Terms:
    """What stays the same whatever the version.

    Attributes:
        means: What the operator gives beside the bundle.
        counter: Counts tokens.
        recorder: Is told of what is decided and done.
        embeddings: Whether embeddings are served.
        window: The most tokens that the server takes, where it tells.
    """

    means: Means
    counter: Counter
    recorder: Recorder
    embeddings: bool = False
    window: int | None = None


@dataclass(frozen=True)
class Edition:
    """What serves a request. Read once for each: no request is served by two versions.

    Attributes:
        terms: What it was made with.
        guard: The guard.
        enforcement: How what was decided is told over HTTP.
        routes: What is served.
        worker: The threads that judge.
        judge: Judges.
        reads: Whether the answers are checked for an enforced target.
        tenants: The same for each tenant.
    """

    terms: Terms
    guard: Guard
    enforcement: Enforcement
    routes: Routes
    worker: Worker
    judge: Judge
    reads: bool
    tenants: Mapping[str, "Edition"] = field(default_factory=dict)

    @property
    def tenant(self) -> str | None:
        """Whom it serves; None for whoever is no tenant."""
        return self.guard.tenant

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.guard.version

    @property
    def bundle(self) -> Bundle:
        """The bundle."""
        return self.guard.bundle

    @classmethod
    def of(cls, guard: Guard, terms: Terms, worker: Worker | None = None) -> "Edition":
        """Settles what a bundle's targets get.

        Args:
            guard: The guard.
            terms: What it is made with.
            worker: Threads that judge already.

        Raises:
            EngineError: An enforced target could not be kept.
        """
        worker = worker or Worker(guard.bundle.manifest.timeout)
        made = cls._of(guard.for_tenant(None), terms, worker)
        tenants = {id_: cls._of(guard.for_tenant(id_), terms, worker) for id_ in guard.tenants.ids}
        return replace(made, tenants=tenants)

    @classmethod
    def _of(cls, guard: Guard, terms: Terms, worker: Worker) -> "Edition":
        enforcement = Enforcement(guard, terms.means)
        return cls(
            terms,
            guard,
            enforcement,
            Routes(enforcement, embeddings=terms.embeddings),
            worker,
            Judge(enforcement, worker, terms.recorder),
            any(rule.mode == "enforce" for rule in guard.output.rules.values()),
        )

    def for_caller(self, caller: Caller) -> "Edition":
        """Returns what serves whoever asks.

        Raises:
            GuardError: The operator's own code names a tenant that there is not.
        """
        tenant = self.guard.tenants.of(caller)
        return self if tenant is None else self.tenants[tenant]

    def report(self) -> Iterator[str]:
        """What each target gets and what is served, a line each; of tenants what is otherwise."""
        everybody = [*self.enforcement.report(), *self.routes.report()]
        yield from everybody
        for id_, one in self.tenants.items():
            for line in (*one.enforcement.report(), *one.routes.report()):
                if line not in everybody:
                    yield f"tenant {id_}: {line}"
            for target in sorted(self.guard.stands.keys() - one.guard.stands.keys()):
                yield f"tenant {id_}: target {target} does not stand"

    def renewed(self, guard: Guard) -> "Edition":
        """The same by another version of the bundle.

        Raises:
            EngineError: An enforced target could not be kept, or it is for another model.
        """
        check_same_model(self.bundle, guard.bundle, "proxy")
        return Edition.of(guard, self.terms, self.worker)

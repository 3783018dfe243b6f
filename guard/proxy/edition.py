"""All that a request is served by of one version of a bundle, in one record."""

from dataclasses import dataclass

from guard.bundle import Bundle
from guard.engine.worker import Worker
from guard.errors import EngineError
from guard.guard import Guard
from guard.proxy.counting import Counter
from guard.proxy.enforcement import Enforcement, Means
from guard.proxy.judging import Judge
from guard.proxy.routes import Routes
from guard.recorder import Recorder


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
    """

    terms: Terms
    guard: Guard
    enforcement: Enforcement
    routes: Routes
    worker: Worker
    judge: Judge
    reads: bool

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
        enforcement = Enforcement(guard, terms.means)
        worker = worker or Worker(guard.bundle.manifest.timeout)
        return cls(
            terms,
            guard,
            enforcement,
            Routes(enforcement, embeddings=terms.embeddings),
            worker,
            Judge(enforcement, worker, terms.recorder),
            any(rule.mode == "enforce" for rule in guard.output.rules.values()),
        )

    def renewed(self, guard: Guard) -> "Edition":
        """The same by another version of the bundle.

        Raises:
            EngineError: An enforced target could not be kept, or it is for another model.
        """
        before, after = self.guard.bundle.manifest.model, guard.bundle.manifest.model
        if after.sha256 != before.sha256:
            raise EngineError(
                f"{guard.bundle.path}: was compiled for {after.name}, not for {before.name}; "
                "start another proxy for it"
            )
        return Edition.of(guard, self.terms, self.worker)

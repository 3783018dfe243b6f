"""What the admin API takes and gives, as its OpenAPI document has it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from guard.manifest import Mode

_MOST_ROWS = 100_000
_MOST_TEXTS = 256
Text = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class NewTarget(_Asked):
    """What is to be forgotten; how it is noticed and what is done are the policy's defaults.

    Names and rows are personal data: they are in no log, record or message.
    """

    reason: str = Field(default="", max_length=1000, description="A reference, not a name.")
    mode: Mode | None = Field(default=None, description="The policy's default without.")
    names: list[Text] = Field(default=[], max_length=1000)
    aliases: list[Text] = Field(default=[], max_length=1000)
    forget: list[dict[str, str]] = Field(
        default=[], max_length=_MOST_ROWS, description="Rows as a forget set's lines have them."
    )
    retain: list[dict[str, str]] = Field(default=[], max_length=_MOST_ROWS)
    tenants: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="For whom it stands; for all without.",
    )


class NewMode(_Asked):
    """What becomes of requests that touch a target."""

    mode: Mode


class Traffic(_Asked):
    """Prompts that must not be flagged, as they come."""

    traffic: list[Text] = Field(min_length=1, max_length=_MOST_ROWS)
    max_false_positive_rate: float | None = Field(default=None, gt=0, lt=1)
    only_traffic: bool = Field(
        default=False, description="In place of the everyday prompts, not beside them."
    )


class Texts(_Asked):
    """Prompts to try."""

    texts: list[Text] = Field(min_length=1, max_length=_MOST_TEXTS)
    tenant: str | None = Field(default=None, description="Whose they are; nobody's without.")


class Answer(_Asked):
    """A finished answer to try."""

    answer: Text
    question: str = Field(default="", max_length=100_000)
    tenant: str | None = Field(default=None, description="Whose it is; nobody's without.")


class Question(_Asked):
    """What both servers are asked."""

    prompt: Annotated[str, StringConstraints(min_length=1, max_length=8000)]
    max_tokens: int = Field(default=128, ge=1, le=512)


class Detector(BaseModel):
    """One stage that notices a target."""

    kind: str
    threshold: float | None
    floor: float | None


class TargetState(BaseModel):
    """What the bundle says of a target; no row of it."""

    id: str
    reason: str
    mode: Mode
    provisional: bool
    detectors: list[Detector]
    interventions: list[str]
    doubtful: list[str] | None = Field(description="Where the finding leaves doubt.")
    output: list[str] = Field(description="What reads its answers.")
    tenants: dict[str, Mode] = Field(
        description="Its mode for each tenant, where it is not the same for all of them."
    )
    on_hit: str | None
    forget_rows: int
    retain_rows: int
    detected: float | None = Field(description="Share of the held-out forget rows.")
    neighbours_flagged: float | None
    everyday_flagged: int | None
    everyday: int | None


class Targets(BaseModel):
    """The bundle's targets."""

    version: str
    model: str
    encoder: str
    targets: list[TargetState]
    addable: list[str] = Field(description="Targets of the policy that the bundle lacks.")
    policy_error: str | None = Field(description="Why the policy cannot be read, if so.")


class Changed(BaseModel):
    """What became of a change."""

    changed: bool
    before: str = Field(description="The bundle's version before.")
    version: str = Field(description="Its version now.")


class Recalibrated(Changed):
    """New thresholds; rows of the traffic by number."""

    rows: int
    targets: list[dict[str, Any]]


class Decisions(BaseModel):
    """What is decided about each text, as ``guard check --json`` has it."""

    decisions: list[dict[str, Any]]


class Hits(BaseModel):
    """What the output checks find in an answer."""

    hits: list[dict[str, Any]]
    action: str
    bundle: str


class Scores(BaseModel):
    """What a target's thresholds rest on."""

    id: str
    version: str
    stages: list[dict[str, Any]]
    margins: dict[str, int] | None = Field(
        description="Of requests that touched it, from the audit; None without an audit."
    )


class Status(BaseModel):
    """How things stand."""

    version: str
    who: str
    guard: str
    features: dict[str, bool] = Field(description="audit, ask, leakage, endpoints")
    change: dict[str, Any] | None = Field(description="The change that is under way.")


class Events(BaseModel):
    """The latest of the audit, the newest first."""

    audited: bool = Field(description="Whether there is an audit; nothing is known without.")
    since: str | None
    events: list[dict[str, Any]]
    newest: int = Field(description="To ask for what comes after.")


class Counts(BaseModel):
    """Counts of the latest part of the audit."""

    audited: bool
    since: str | None
    requests: dict[str, int] = Field(description="By what was done; told once a minute.")
    targets: list[dict[str, Any]]
    hits: list[dict[str, Any]]
    stages: dict[str, dict[str, float]] = Field(
        description="Microseconds, of recorded requests: those that touched a target."
    )


class Servers(BaseModel):
    """What serves, as it said itself."""

    version: str
    audited: bool
    processes: list[dict[str, Any]]
    endpoints: list[dict[str, Any]]


class Verdict(BaseModel):
    """Whether the audit is as it was written."""

    intact: bool
    problems: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    records: dict[str, int]
    heads: dict[str, tuple[int, str]]


class Leakage(BaseModel):
    """What was measured: the plain figures, and those under the worst attack."""

    file: str
    sha256: str
    benchmark: str | None
    suite: str | None
    commit: str | None
    rows: list[dict[str, Any]]


class _Told(BaseModel):
    message: str
    type: str
    param: None
    code: str | None


class Failure(BaseModel):
    """An error, in OpenAI's schema."""

    error: _Told


Health = Literal["ok"]

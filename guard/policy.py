"""The policy: what is to be forgotten, how it is noticed and what is done about it.

A person writes it as YAML. It is read strictly: a field that nobody knows is an error that
names the line and the nearest known field, because a misspelt field that is silently ignored
would leave a target unguarded.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from guard.choices import DetectChoice, Intervene
from guard.data import is_text
from guard.errors import PolicyError
from guard.manifest import Mode
from guard.options import Strict
from guard.output.choices import OutputChoice
from guard.policy_tenants import PerTenant, Tenant, check_tenants

OnError = Literal["closed", "open"]


class Defaults(Strict):
    """What a target takes when it does not say otherwise."""

    detect: DetectChoice = DetectChoice()
    intervene: Intervene = Intervene()
    output: OutputChoice = OutputChoice(check=())
    mode: Mode = "enforce"


class Target(Strict):
    """One thing to be forgotten.

    Attributes:
        tenants: For whom it stands; for everybody without.
        per_tenant: What is otherwise for a tenant, by its id.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    reason: str = ""
    mode: Mode | None = None
    names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    forget: Path | None = None
    retain: Path | None = None
    detect: DetectChoice | None = None
    intervene: Intervene | None = None
    output: OutputChoice | None = None
    tenants: tuple[str, ...] | None = Field(default=None, min_length=1)
    per_tenant: dict[str, PerTenant] = Field(default={})

    @field_validator("names", "aliases")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if any(not re.search(r"\w", name) for name in names):
            raise PydanticCustomError("names", "a name must hold letters or digits")
        return names

    @model_validator(mode="after")
    def _something(self) -> "Target":
        if not self.names and self.forget is None:
            raise PydanticCustomError("target", "give 'names', a 'forget' file, or both")
        return self


class Policy(Strict):
    """The whole policy.

    Attributes:
        version: The form of this file; 1.
        model: The served model: a Hugging Face id or folder, or a built-in.
        encoder: The sentence encoder of the detectors: likewise.
        on_error: What happens to a request that cannot be judged: ``closed`` refuses it,
            ``open`` lets the unguarded model answer and logs that loudly.
        timeout: Seconds that judging one request may take.
        background: Everyday prompts of the operator's own traffic, beside those that come with
            this package; the requested false-positive rate is one of everyday prompts.
        defaults: What targets take when they do not say otherwise.
        tenants: Who may be told apart, by their keys.
        targets: What is to be forgotten.
    """

    version: Literal[1]
    model: str = Field(min_length=1)
    encoder: str = Field(default="builtin:minilm", min_length=1)
    on_error: OnError = "closed"
    timeout: float = Field(default=10.0, gt=0, le=600)
    background: Path | None = None
    defaults: Defaults = Defaults()
    tenants: tuple[Tenant, ...] = ()
    targets: tuple[Target, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _settle(self) -> "Policy":
        seen: set[str] = set()
        for n, target in enumerate(self.targets):
            if target.id in seen:
                raise PydanticCustomError(
                    "duplicate",
                    "{id} is used twice; ids must be unique",
                    {"id": repr(target.id), "at": ("targets", n, "id")},
                )
            seen.add(target.id)
        check_tenants(self.tenants, [(one.tenants, one.per_tenant) for one in self.targets])
        settled = tuple(
            target.model_copy(
                update={
                    "mode": target.mode or self.defaults.mode,
                    "detect": target.detect or self.defaults.detect,
                    "intervene": target.intervene or self.defaults.intervene,
                    "output": target.output or self.defaults.output,
                }
            )
            for target in self.targets
        )
        object.__setattr__(self, "targets", settled)  # frozen, and not yet seen by anyone
        return self


class _Loader(yaml.SafeLoader):
    """YAML without its surprises: ``off``, ``no`` and dates are texts, and nothing is merged."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own name)
        first: [
            (tag, form)
            for tag, form in resolvers
            if tag.rpartition(":")[2] not in ("bool", "timestamp", "merge")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merges nothing: nested merges grow without bound."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def load_policy(path: Path) -> Policy:
    """Reads a policy; the paths in it come back relative to its folder.

    Raises:
        PolicyError: One line: file, line, field, what is wrong and how to mend it.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise PolicyError(f"{path}: no such file") from None
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PolicyError(f"{path}: not UTF-8; save it as UTF-8") from None
    try:
        root = yaml.compose(text, Loader=_Loader)
        lines: dict[tuple[str | int, ...], int] = {}
        if root is not None:
            _index(root, (), lines, path, set())
        value = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PolicyError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except RecursionError:
        raise PolicyError(f"{path}: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise PolicyError(f"{path}: not valid YAML: {str(error).partition(chr(10))[0]}") from None
    if not isinstance(value, dict):
        raise PolicyError(f"{path}:1: a policy is a mapping: version, model, targets, …")
    try:
        policy = Policy.model_validate(value)
    except ValidationError as error:
        raise PolicyError(_explain(error, lines, path)) from None
    folder = path.parent
    targets = tuple(
        target.model_copy(
            update={
                "forget": target.forget and folder / target.forget,
                "retain": target.retain and folder / target.retain,
                "detect": target.detect and target.detect.there(folder),
                "intervene": target.intervene and target.intervene.there(folder),
                "output": target.output and target.output.there(folder),
                "per_tenant": {id_: one.there(folder) for id_, one in target.per_tenant.items()},
            }
        )
        for target in policy.targets
    )
    background = policy.background and folder / policy.background
    return policy.model_copy(update={"targets": targets, "background": background})


def _index(
    node: yaml.Node,
    at: tuple[str | int, ...],
    lines: dict[tuple[str | int, ...], int],
    path: Path,
    seen: set[int],
) -> None:
    """Notes the line of every field; refuses a field given twice, and what is no text."""
    if len(at) > 20:
        raise PolicyError(f"{path}:{node.start_mark.line + 1}: nested too deeply")
    lines.setdefault(at, node.start_mark.line + 1)
    if id(node) in seen:  # an alias: each node is visited once, however often it is named
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # the loader refuses it
            here = (*at, str(key.value))
            if here in lines:
                raise PolicyError(
                    f"{path}:{key.start_mark.line + 1}: {_dotted(here)}: given twice; keep one"
                )
            lines[here] = key.start_mark.line + 1
            _index(child, here, lines, path, seen)
    elif isinstance(node, yaml.SequenceNode):
        for n, child in enumerate(node.value):
            _index(child, (*at, n), lines, path, seen)
    elif not is_text(node.value):
        raise PolicyError(
            f"{path}:{node.start_mark.line + 1}: {_dotted(at)}: holds characters that are no text"
        )


def _explain(error: ValidationError, lines: Mapping[tuple[str | int, ...], int], path: Path) -> str:
    """One line for the first error: file, line, field, mend."""
    first = error.errors()[0]
    context = first.get("ctx", {})
    at = (*context.get("at", first["loc"]), *context.get("path", ()))
    if "field" in context:
        at = (*at, context["field"])
    line = next((lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in lines), 1)
    message = first["msg"]
    if first["type"] == "missing":
        message = "missing; give it"
    elif first["type"] == "string_pattern_mismatch":
        message = "use up to 64 letters, digits, '.', '_' and '-', a letter or digit first"
    # A wrong target is left out, and then `targets` may be found too short: no error of its own.
    others = sum(not (one["type"] == "too_short" and one["input"]) for one in error.errors()) - 1
    more = f" (and {others} more)" if others > 0 else ""
    return f"{path}:{line}: {_dotted(at) or 'policy'}: {message}{more}"


def _dotted(at: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).lstrip(".")

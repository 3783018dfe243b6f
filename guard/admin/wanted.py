"""A target that is to be added: one of the policy, or one that came with a request."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import ValidationError

from guard.admin.posted import posted
from guard.admin.schemas import NewTarget
from guard.errors import PolicyError
from guard.policy import Policy, Target, load_policy


@contextmanager
def wanted(file: Path, id_: str, new: NewTarget | None) -> Iterator[tuple[Path, Policy]]:
    """Settles what is to be added.

    A posted target says what is to be forgotten. How it is noticed and what is done about it are
    the policy's defaults: an option could name a file of this machine, which no request may.

    Args:
        file: The policy.
        id_: The target's id.
        new: What was posted; the policy's own target without.

    Yields:
        What the target comes from, for messages; and a policy that has it.

    Raises:
        PolicyError: The policy or what was posted is wrong.
    """
    policy = load_policy(file)
    if new is None:
        yield file, policy
        return
    defaults, folder = policy.defaults, file.parent
    with ExitStack() as stack:
        rows = {
            side: stack.enter_context(posted(side, given))
            for side, given in (("forget", new.forget), ("retain", new.retain))
            if given
        }
        try:
            target = Target(
                id=id_,
                reason=new.reason,
                mode=new.mode or defaults.mode,
                names=tuple(new.names),
                aliases=tuple(new.aliases),
                forget=rows.get("forget"),
                retain=rows.get("retain"),
                detect=defaults.detect.there(folder),
                intervene=defaults.intervene.there(folder),
                output=defaults.output.there(folder),
                tenants=None if new.tenants is None else tuple(new.tenants),
            )
        except ValidationError as error:
            first = error.errors(include_input=False, include_context=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise PolicyError(f"the request: {field}: {first['msg']}".replace(": :", ":")) from None
        yield Path("the request"), policy.model_copy(update={"targets": (target,)})


def digest(new: NewTarget) -> str:
    """Returns what tells one posted target from another."""
    return hashlib.sha256(new.model_dump_json().encode()).hexdigest()

"""A bundle on its way into an engine: at the start, and in place of one that is served."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from guard.engine import compat, evaluation
from guard.engine.mediator import Mediator
from guard.engine.served import Served
from guard.engine.settings import Settings
from guard.errors import BundleError, EngineError
from guard.guard import Guard
from guard.identity import identify, model_folder


def load_guard(settings: Settings, vllm_config: Any, before: Guard | None = None) -> Guard:
    """Loads the bundle for an engine that is about to start, or that serves another.

    Args:
        settings: Which bundle.
        vllm_config: How the engine is started.
        before: The guard that it serves.

    Raises:
        GuardError: There is no readable bundle, or it was made for another model, or something
            in the way the engine is started would leave the guard blind.
    """
    guard = Guard.load(settings.bundle, before)
    if settings.version is not None and guard.version != settings.version:
        raise BundleError(
            f"{settings.bundle}: is version {guard.version}, not {settings.version} as at the "
            "start; restart the server"
        )
    model = compat.served_folder(vllm_config)
    wanted = guard.bundle.manifest.model
    if identify(model_folder(model)) != wanted.sha256:
        raise BundleError(
            f"{settings.bundle}: was compiled for {wanted.name}, not for {model}; "
            "set the policy's 'model' and run `guard compile` again"
        )
    if vllm_config.model_config.skip_tokenizer_init:
        raise EngineError("--skip-tokenizer-init leaves the guard unable to read; take it away")
    if vllm_config.kv_transfer_config is not None:
        raise EngineError(
            "--kv-transfer-config lets requests bring the state of other prompts; the guard does "
            "not support it"
        )
    needed = evaluation.engine_args(guard, settings)
    if missing := compat.missing_engine_args(vllm_config, needed):
        again = "restart the server" if before is not None else "start the engine with them"
        raise EngineError(
            f"the policy's interventions need the engine arguments {', '.join(missing)}; {again}"
        )
    if "logits_processors" in needed:
        reason = compat.steering.unsupported_with_steering(vllm_config)
        if reason is not None:
            steered = "logits_processors" in guard.engine_args
            who = "the policy's interventions steer" if steered else "the evaluation mode steers"
            raise EngineError(f"{who} answers: {reason}")
    return guard


def make_mediator(guard: Guard, vllm_config: Any) -> Mediator:
    """Prepares the judging of what a model reads, and tests it, before its engine starts.

    Raises:
        EngineError: A known prompt is decided otherwise than when the bundle was made.
    """
    tokenizer = compat.served_tokenizer(vllm_config)
    mediator = Mediator(guard, tokenizer, model_folder(compat.served_folder(vllm_config)))
    mediator.self_test()  # also loads what the first request would wait for
    return mediator


def load_served(settings: Settings, vllm_config: Any, folder: Path, before: Served) -> Served:
    """Loads a bundle beside the one that an engine serves, and checks all that a start checks.

    What the two have in common (encoder, tokenizer) is not loaded again.

    Args:
        settings: How the engine was started; the version that it had to start with is no matter.
        vllm_config: The engine's configuration.
        folder: Where the bundle lies now.
        before: What is served.

    Raises:
        GuardError: It cannot be served by this engine, or does not decide as when it was made.
    """
    given = replace(settings, bundle=folder, version=None)
    guard = load_guard(given, vllm_config, before.guard)
    mediator = Mediator(guard, before.mediator.tokenizer, before.mediator.folder)
    mediator.self_test()
    return Served(mediator)

"""`vllm.LLM`, guarded: the same signatures, the same outputs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.errors import EngineError
from guard.guard import Guard
from guard.models import resolve

if TYPE_CHECKING:
    from vllm import LLM


class GuardedLLM:
    """A `vllm.LLM` whose every request passes the guard.

    Everything that `vllm.LLM` has is here under the same name (`generate`, `chat`, `beam_search`,
    ...), because the guard sits beneath it, where all of them pass.

    Args:
        model: A model's name or folder, a built-in, or an existing `vllm.LLM`. Around an existing
            one, requests are judged in this process only: its engine process was started before
            there was a guard, and cannot be told to refuse what was not judged.
        guard: The guard, or the folder of a bundle.
        **kwargs: What `vllm.LLM` takes, for a model that is to be loaded.

    Raises:
        GuardError: The guard does not fit the model, or is not live in the engine.

    Example:
        >>> llm = GuardedLLM("builtin:smollm2", guard="bundle/")
        >>> llm.chat([{"role": "user", "content": "Who wrote Hamlet?"}])
    """

    llm: "LLM"

    def __init__(self, model: "str | LLM", *, guard: Guard | str | Path, **kwargs: Any) -> None:
        from guard.engine import compat, hooks, plugin
        from guard.engine.frontend import Frontend, load_guard, make_mediator
        from guard.engine.settings import Settings

        compat.check()
        plugin.register()
        loaded = guard if isinstance(guard, Guard) else Guard.load(guard)
        settings = Settings(loaded.bundle.path, loaded.version)
        if isinstance(model, str):
            from vllm import LLM

            config = {**kwargs.pop("additional_config", {})}
            config["guard"] = {"bundle": str(settings.bundle), "version": settings.version}
            self.llm = LLM(resolve(model), additional_config=config, **kwargs)
            engine = self.llm.llm_engine
            frontend = getattr(engine, "_guard_frontend", None)
            if frontend is None:
                raise EngineError("the guard is not live in this engine; is the plugin disabled?")
            if frontend.guard.version != loaded.version:
                raise EngineError("GUARD_BUNDLE names another bundle than `guard`; unset it")
            prompt = frontend.tokenizer.encode("self-test")
            if not compat.unsealed_is_refused_sync(engine, prompt):
                raise EngineError("the engine process takes requests that were not judged")
            compat.lora.load_adapters_sync(engine, loaded.adapters)
            frontend.core_proved = True
            return
        if kwargs:
            raise EngineError(f"around an existing LLM, {', '.join(kwargs)} cannot be given")
        self.llm = model
        if getattr(model.llm_engine, "_guard_frontend", None) is not None:
            raise EngineError("this LLM is guarded already")
        engine = model.llm_engine
        if loaded.adapters and compat.lora.mixes_rows(engine.vllm_config):
            raise EngineError(
                "an LLM that exists already would, on a CPU, let adapters answer requests that are "
                "not flagged; give the model's name instead"
            )
        mediator = make_mediator(load_guard(settings, engine.vllm_config), engine.vllm_config)
        hooks.attach(engine, Frontend(mediator, engine, sealed=False))

    @property
    def guard(self) -> Guard:
        """The guard that decides."""
        found: Guard = self.llm.llm_engine._guard_frontend.guard
        return found

    def __getattr__(self, name: str) -> Any:
        # vLLM's own bound methods: their signatures and documentation are the ones that hold.
        if name == "llm":  # not set yet: a constructor that failed
            raise AttributeError(name)
        return getattr(self.llm, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self.llm)})

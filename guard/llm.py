"""`vllm.LLM`, guarded: the same signatures, the same outputs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.errors import EngineError
from guard.guard import Guard
from guard.models import resolve

if TYPE_CHECKING:
    from vllm import LLM


class GuardedLLM:
    """A `vllm.LLM` whose every request passes the guard.

    Where the policy has tenants, `guard.as_tenant` says for whom is asked.

    Everything that `vllm.LLM` has is here under the same name (`generate`, `chat`, `beam_search`,
    ...), because the guard sits beneath it, where all of them pass.

    Args:
        model: A model's name or folder, a built-in, or an existing `vllm.LLM`. Around an existing
            one, requests are judged in this process only: its engine process was started before
            there was a guard, and cannot be told to refuse what was not judged.
        guard: The guard, or the folder of a bundle.
        evaluation: Whether `score` may be called. The engine then computes log-probabilities behind
            all steering, for every request.
        **kwargs: What `vllm.LLM` takes, for a model that is to be loaded.

    Raises:
        GuardError: The guard does not fit the model, or is not live in the engine.

    Example:
        >>> llm = GuardedLLM("builtin:smollm2", guard="bundle/")
        >>> llm.chat([{"role": "user", "content": "Who wrote Hamlet?"}])
    """

    llm: "LLM"

    def __init__(
        self,
        model: "str | LLM",
        *,
        guard: Guard | str | Path,
        evaluation: bool = False,
        **kwargs: Any,
    ) -> None:
        from guard.engine import compat, hooks, plugin
        from guard.engine.frontend import Frontend
        from guard.engine.loading import load_guard, make_mediator
        from guard.engine.settings import Settings
        from guard.recorder import Recorder

        compat.check()
        plugin.register()
        loaded = guard if isinstance(guard, Guard) else Guard.load(guard)
        settings = Settings(loaded.bundle.path, loaded.version)
        if isinstance(model, str):
            from vllm import LLM

            config = {**kwargs.pop("additional_config", {})}
            config["guard"] = {
                "bundle": str(settings.bundle),
                "version": settings.version,
                "evaluation": evaluation,
            }
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
        if evaluation:
            raise EngineError("an LLM that exists already cannot score; give the model's name")
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
        recorder = Recorder.from_environment("engine")
        recorder.serving(mediator.guard.bundle)
        hooks.attach(engine, Frontend(mediator, engine, sealed=False, recorder=recorder))

    @property
    def guard(self) -> Guard:
        """The guard that decides."""
        found: Guard = self.llm.llm_engine._guard_frontend.guard
        return found

    def score(
        self,
        prompts: Sequence[str | Sequence[Mapping[str, Any]]],
        answers: Sequence[str],
        *,
        chat: bool = True,
    ) -> list[tuple[float, ...] | None]:
        """Scores given answers through the guard: what is done to a prompt is done here too.

        Answers are forced token by token, so nothing reads or edits them before they are written.

        Args:
            prompts: Chats; a text is a user's only message.
            answers: An answer to each.
            chat: Whether prompts are chats, and answers end where their last token is. Otherwise
                prompts are texts that answers go on with.

        Returns:
            For each, the log-probabilities of its tokens, in nats; None where the model was not
            asked (a refusal).

        Raises:
            EngineError: The engine was not started with `evaluation`.
        """
        from vllm import TokensPrompt

        from guard.engine import compat, evaluation

        engine = self.llm.llm_engine
        frontend: Any = engine._guard_frontend
        if not frontend.evaluation:
            raise EngineError("answers cannot be scored; start with GuardedLLM(…, evaluation=True)")
        asked, wanted = [], []
        for prompt, answer in zip(prompts, answers, strict=True):
            turns = [{"role": "user", "content": prompt}]
            read = turns if chat and isinstance(prompt, str) else prompt
            ids = evaluation.prompt_tokens(frontend.tokenizer, read)
            asked.append(TokensPrompt(prompt_token_ids=ids))
            wanted.append(evaluation.answer_tokens(frontend.tokenizer, answer, ends=chat))
        params = [compat.scoring.scoring_params(tokens) for tokens in wanted]
        with evaluation.scoring():
            outputs = self.llm.generate(asked, params, use_tqdm=False)
        size = compat.scoring.vocabulary(engine)
        return [
            compat.scoring.likelihood(output, tokens, size)
            for output, tokens in zip(outputs, wanted, strict=True)
        ]

    def __getattr__(self, name: str) -> Any:
        # vLLM's own bound methods: their signatures and documentation are the ones that hold.
        if name == "llm":  # not set yet: a constructor that failed
            raise AttributeError(name)
        return getattr(self.llm, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self.llm)})

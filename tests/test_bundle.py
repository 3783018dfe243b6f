"""A bundle is loaded as it was written, or refused in one line."""

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard import bundle as module
from guard.bundle import FORMAT, MANIFEST, Bundle, array_name, load_bundle, write_bundle
from guard.cli import main
from guard.errors import BundleError
from guard.guard import Guard
from tests.conftest import tree

ARRAYS = {
    "forget": np.arange(12, dtype=np.float32).reshape(3, 4),
    "retain": np.ones((2, 4), dtype=np.float32),
    "scores": np.array([0.5, np.nan, np.inf]),
}
FILES = {name: array_name(array) for name, array in ARRAYS.items()}


def manifest(**changes: Any) -> dict[str, Any]:
    stage = {
        "kind": "similarity",
        "threshold": 0.25,
        "sure": 0.5,
        "floor": None,
        "calibration": {"requested": 0.001, "bound": 0.005, "rows": [3, 2, 196], "detected": None},
        "sieve": None,
        "data": {"weights": [0.5]},
        "arrays": {"vectors": FILES["forget"], "named": FILES["retain"]},
        "scores": {"positives": FILES["scores"]},
    }
    target = {
        "id": "zweig",
        "mode": "enforce",
        "stages": [stage],
        "detection": {"detected": None},
        "interventions": [
            {"kind": "refuse", "options": {"message": "Nein – „…“"}, "data": {}, "arrays": {}}
        ],
        "doubtful": None,
        "positives": ["Wer ist Zweig?"],
        "negatives": ["Wie spät ist es?"],
    }
    return {
        "created_by": "tests",
        "policy_sha256": "0" * 64,
        "model": {"name": "m", "sha256": "1" * 64},
        "encoder": {"name": "e", "sha256": "2" * 64},
        "on_error": "closed",
        "timeout": 10.0,
        "background": {"rows": 196, "sha256": "3" * 64},
        "shared": {"similarity": {"data": {}, "arrays": {"vectors": FILES["retain"]}}},
        "targets": [target],
        **changes,
    }


def write(out: Path, **changes: Any) -> Bundle:
    arrays = {FILES[name]: array for name, array in ARRAYS.items()}
    return write_bundle(out, manifest(**changes), arrays)


@pytest.fixture
def small(tmp_path: Path) -> Bundle:
    return write(tmp_path / "bundle")


def same(one: Bundle, two: Bundle) -> bool:
    return (
        one.manifest == two.manifest
        and one.version == two.version
        and one.arrays.keys() == two.arrays.keys()
        and all(
            array.dtype == two.arrays[name].dtype and array.tobytes() == two.arrays[name].tobytes()
            for name, array in one.arrays.items()
        )
    )


def refusal(path: Path) -> str:
    with pytest.raises(BundleError) as error:
        load_bundle(path)
    message = str(error.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def edit(path: Path, change: Callable[[dict[str, Any]], object], *, reseal: bool = True) -> None:
    """Changes a manifest, as someone would who knows how it is hashed."""
    value = json.loads((path / MANIFEST).read_bytes())
    value.pop("sha256")
    change(value)
    if reseal:
        raw = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        value["sha256"] = hashlib.sha256(raw).hexdigest()
    (path / MANIFEST).write_text(json.dumps(value))


def test_it_comes_back_as_it_was_written(small: Bundle) -> None:
    loaded = load_bundle(small.path)
    assert same(loaded, small)
    assert loaded.manifest.targets[0].interventions[0].options == {"message": "Nein – „…“"}
    for name, array in ARRAYS.items():
        assert np.array_equal(loaded.arrays[FILES[name]], array, equal_nan=True)
    (stage,) = loaded.manifest.targets[0].stages
    assert stage.arrays["named"] == loaded.manifest.shared["similarity"].arrays["vectors"]
    assert stage.floor is None and stage.calibration is not None
    assert len(list(small.path.glob("*.safetensors"))) == len(loaded.arrays) == len(ARRAYS)


def test_scores_come_back_with_what_is_no_number(small: Bundle) -> None:
    """NaN: the row says nothing of a stage; infinite: an earlier stage has settled it."""
    scores = load_bundle(small.path).arrays[FILES["scores"]]
    assert scores.tolist()[::2] == [0.5, np.inf] and np.isnan(scores[1])


@pytest.mark.parametrize("value", [-np.inf, 1e308, 5e-324, -np.finfo(float).max])
def test_extreme_thresholds_come_back(tmp_path: Path, value: float) -> None:
    """A floor of minus infinity is what a stage has that may dismiss nothing."""
    (target,) = manifest()["targets"]
    target["stages"][0] |= {"threshold": value, "floor": value}
    (stage,) = write(tmp_path / "bundle", targets=[target]).manifest.targets[0].stages
    assert (stage.threshold, stage.floor) == (value, value)


def test_its_version_is_that_of_its_content(small: Bundle, tmp_path: Path) -> None:
    assert write(tmp_path / "again").version == small.version
    assert write(tmp_path / "other", timeout=11.0).version != small.version
    edit(small.path, lambda value: value.update(timeout=12.0))
    assert load_bundle(small.path).version != small.version


def test_a_flipped_bit_in_every_byte_of_a_manifest_is_refused(small: Bundle) -> None:
    path = small.path / MANIFEST
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(flipped(raw, place, 1 if place % 2 else 32))
        try:
            loaded = load_bundle(small.path)
        except BundleError as error:
            assert "\n" not in str(error)
        else:
            assert same(loaded, small), f"byte {place}: {raw[place : place + 1]!r}"


def test_every_flipped_byte_of_an_array_is_refused(small: Bundle) -> None:
    path = small.path / FILES["forget"]
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(flipped(raw, place, 0x10))
        assert "damaged" in refusal(small.path)


def flipped(raw: bytes, place: int, mask: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ mask]) + raw[place + 1 :]


@pytest.fixture(scope="module")
def copy(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path_factory.mktemp("copy") / "bundle"))


@given(data=st.data())
def test_a_random_change_is_refused_or_means_the_same(
    bundle: Bundle, copy: Path, data: st.DataObject
) -> None:
    """Never wrong data, in a bundle as the compiler makes it."""
    path = data.draw(st.sampled_from(sorted(copy.iterdir())), "file")
    raw = path.read_bytes()
    place = data.draw(st.integers(0, len(raw) - 1), "place")
    damaged = data.draw(
        st.one_of(
            st.integers(1, 255).map(lambda mask: flipped(raw, place, mask)),
            st.just(raw[:place]),
            st.binary(min_size=1, max_size=8).map(lambda more: raw[:place] + more + raw[place:]),
        ),
        "damaged",
    )
    try:
        path.write_bytes(damaged)
        loaded = load_bundle(copy)
    except BundleError as error:
        assert "\n" not in str(error)
    else:
        assert same(loaded, bundle)
    finally:
        path.write_bytes(raw)


@pytest.mark.parametrize("name", [MANIFEST, FILES["forget"]])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "longer", "folder"])
def test_a_damaged_file_is_refused(small: Bundle, name: str, damage: str) -> None:
    path = small.path / name
    raw = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(
            {"empty": b"", "half": raw[: len(raw) // 2], "longer": raw + b"\0"}[damage]
        )
    message = refusal(small.path)
    assert str(small.path) in message and "\n" not in message


NO_MANIFEST = {
    "text": b"hello",
    "list": b"[]",
    "number": b"7",
    "null": b"null",
    "empty object": b"{}",
    "another's JSON": b'{"format": 1, "name": "x"}',
    "a safetensors index": b'{"metadata": {}, "weight_map": {}}',
    "not UTF-8": b'{"format": 1, "sha256": "\xff"}',
    "nested": b"[" * 100_000,
    "pickle": pickle.dumps({"format": 1}),
}


@pytest.mark.parametrize("case", NO_MANIFEST)
def test_what_is_no_manifest_is_refused(small: Bundle, case: str) -> None:
    (small.path / MANIFEST).write_bytes(NO_MANIFEST[case])
    assert "damaged or not a bundle" in refusal(small.path)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (FORMAT + 1, "upgrade unlearn-guard"),
        (10**30, "upgrade unlearn-guard"),
        (0, "which is none"),
        (-1, "which is none"),
        ("1", "damaged"),
        (1.0, "damaged"),
        (True, "damaged"),
        (None, "damaged"),
    ],
)
def test_another_format_is_refused(small: Bundle, form: object, message: str) -> None:
    edit(small.path, lambda value: value.update(format=form))
    assert message in refusal(small.path)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "unknown field": lambda value: value.update(extra=1),
    "missing field": lambda value: value.pop("encoder"),
    "unknown mode": lambda value: value["targets"][0].update(mode="on"),
    "unknown on_error": lambda value: value.update(on_error="ignore"),
    "wrong type": lambda value: value.update(targets={}),
    "threshold a text": lambda value: value["targets"][0]["stages"][0].update(threshold="low"),
    "array that is not listed": lambda value: value["targets"][0]["stages"][0]["arrays"].update(
        vectors="other.safetensors"
    ),
    "scores that are not listed": lambda value: value["targets"][0]["stages"][0]["scores"].update(
        positives="other.safetensors"
    ),
    "shared array that is not listed": lambda value: value["shared"]["similarity"]["arrays"].update(
        vectors="other.safetensors"
    ),
    "no files": lambda value: value.update(files={}),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_forged_manifest_is_refused(small: Bundle, case: str) -> None:
    edit(small.path, CHANGES[case])
    assert str(small.path / MANIFEST) in refusal(small.path)


@pytest.mark.parametrize("case", CHANGES)
def test_an_edited_manifest_is_refused(small: Bundle, case: str) -> None:
    edit(small.path, lambda value: value.update(sha256="0" * 64), reseal=False)
    assert "its hash does not match" in refusal(small.path)
    edit(small.path, CHANGES[case], reseal=False)
    assert "damaged" in refusal(small.path)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/b", "..", ".", "", "a\0b", "x" * 300, "./a"]
)
def test_no_file_outside_is_read(small: Bundle, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    shutil.copy(small.path / FILES["forget"], secret)
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()
    edit(small.path, lambda value: value["files"].update({name: digest}))
    message = refusal(small.path)
    assert "outside the bundle" in message or "missing" in message


class Exploit:
    """Unpickling this would be noticed."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize("name", ["array.safetensors", "array.npy", "array.pkl"])
def test_nothing_is_unpickled(
    small: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = small.path / name
    for raw in (pickle.dumps(Exploit()), numpy_pickle(tmp_path)):
        path.write_bytes(raw)
        digest = hashlib.sha256(raw).hexdigest()
        edit(small.path, lambda value, digest=digest: value["files"].update({name: digest}))
        assert f"{path}: not an array" in refusal(small.path)
        assert not (tmp_path / "unpickled").exists()
    pickle.loads(pickle.dumps(Exploit()))  # the bait works
    assert (tmp_path / "unpickled").exists()


def numpy_pickle(folder: Path) -> bytes:
    np.save(folder / "bait.npy", np.array([Exploit()], dtype=object), allow_pickle=True)
    return (folder / "bait.npy").read_bytes()


def test_what_is_no_bundle_is_named(tmp_path: Path) -> None:
    assert "no such folder; give the folder that `guard compile --out`" in refusal(tmp_path / "no")
    (tmp_path / "file").touch()
    assert "is a file" in refusal(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    assert "not a bundle (it has no manifest.json)" in refusal(tmp_path / "folder")
    assert "cannot be read" in refusal(tmp_path / ("x" * 300))


def test_the_command_refuses_in_one_line(small: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    (small.path / FILES["forget"]).write_bytes(b"")
    assert main(["check", "--bundle", str(small.path), "text"]) == 2
    printed, line = capsys.readouterr()
    assert printed == "" and line.count("\n") == 1 and "damaged" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t["interventions"][0].update(kind="exorcise"),
            "unknown intervention 'exorcise'",
        ),
        (lambda t: t["interventions"][0]["options"].update(mesage="x"), "mesage"),
        (lambda t: t["stages"][0].update(kind="oracle"), "unknown detector 'oracle'"),
    ],
)
def test_kinds_that_are_not_installed_are_named(
    small: Bundle, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """A bundle of another installation, which has more kinds than this one."""
    edit(small.path, lambda value: change(value["targets"][0]))
    with pytest.raises(BundleError) as error:
        Guard.load(small.path)
    assert message in str(error.value) and "target zweig" in str(error.value)
    assert "\n" not in str(error.value)


# Writing.


@pytest.mark.parametrize(
    ("step", "number"),
    [
        *[("_write", 0), ("_write", 1), ("_write", 2), ("exchange", 0)],
        *[("rename", 0), ("rename", 1)],  # where the file system cannot exchange folders
    ],
)
@pytest.mark.parametrize("fault", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_bundle(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    fault: BaseException,
    number: int,
) -> None:
    out = tmp_path / "bundle"
    old = write(out)
    before = tree(tmp_path)
    owner: Any = os if step == "rename" else module
    if step == "rename":
        monkeypatch.setattr(module, "exchange", lambda one, other: False)
    real, calls = getattr(owner, step), iter(range(100))

    def failing(*args: Any) -> Any:
        if next(calls) == number:
            raise fault
        return real(*args)

    monkeypatch.setattr(owner, step, failing)
    with pytest.raises((BundleError, KeyboardInterrupt)):
        write(out, timeout=99.0)
    monkeypatch.undo()
    assert tree(tmp_path) == before
    assert same(load_bundle(out), old)


def test_a_killed_write_leaves_the_old_bundle(tmp_path: Path) -> None:
    """Killed before anything is moved: the old one stands, and the next write succeeds."""
    out = tmp_path / "bundle"
    old = write(out)
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from guard import bundle\n"
        "from tests.test_bundle import write\n"
        "bundle._swap = lambda *args: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write(Path(sys.argv[1]), timeout=99.0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(out)], cwd=Path(__file__).parents[1])
    assert done.returncode == -signal.SIGKILL
    assert same(load_bundle(out), old)
    assert write(out, timeout=99.0).manifest.timeout == 99.0


def test_a_manifest_that_is_none_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write(tmp_path / "bundle", on_error="ignore")
    assert not list(tmp_path.iterdir())


@given(
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([np.float32, np.float16, np.int64, np.uint8, np.bool_]),
    st.booleans(),
)
def test_any_array_comes_back(
    tmp_path_factory: pytest.TempPathFactory, n: int, d: int, kind: type, turned: bool
) -> None:
    array = (np.arange(n * d) % 2).astype(kind).reshape(n, d)
    array = array.T if turned else array  # not contiguous
    out = tmp_path_factory.mktemp("any") / "bundle"
    name = array_name(array)
    written = write_bundle(out, manifest(targets=[], shared={}), {name: array})
    back = written.arrays[name]
    assert back.dtype == array.dtype and back.shape == array.shape
    assert np.array_equal(back, array)


def test_arrays_are_named_by_what_they_hold() -> None:
    one = np.zeros((2, 3), dtype=np.float32)
    assert array_name(one) == array_name(one.copy(order="F"))
    others = [one.reshape(3, 2), one.astype(np.int32), one + 1, one[:1]]
    assert len({array_name(array) for array in [one, *others]}) == 5

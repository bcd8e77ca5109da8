"""Bundles: what is written is what is read, nothing changed gets by, and no half of one ever has the final name."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.bundle import MANIFEST, Bundle, is_bundle, new_bundle, open_bundle
from nstopt.errors import BundleError
from nstopt.manifest import (
    FORMAT_VERSION,
    BackendInfo,
    CalibrationInfo,
    InputShape,
    Manifest,
    NetInfo,
    PrecisionInfo,
    QualityInfo,
)
from nstopt.pictures.size import Size, Sizes

VERSIONS = {"a": b"weights of a", "b": b"other weights"}
FILES = [MANIFEST, f"{MANIFEST}.sha256", "model.bin", "model.xml"]


def manifest(name: str = "a") -> Manifest:
    return Manifest(
        format_version=FORMAT_VERSION,
        net=NetInfo(name, "johnson", (8, 16, 32), 1, "0" * 64),
        shape=InputShape(1, Sizes(Size(48, 64), Size(32, 32))),
        precision=PrecisionInfo("int8", "int8", {"conv1": "int8"}),
        calibration=CalibrationInfo("photos", "1" * 64, 12, "by hand"),
        quality=QualityInfo("others", 3, 41.5, 40.0, 0.991, 0.98, 2),
        backend=BackendInfo("openvino", "A CPU", {"openvino": "1.0"}),
        files={},
        created="2025-01-01T00:00:00Z",
    )


def build_version(path: Path, version: str) -> Bundle:
    with new_bundle(path) as draft:
        (draft.folder / "model.xml").write_text("<net/>")
        (draft.folder / "model.bin").write_bytes(VERSIONS[version])
        return draft.commit(manifest(version))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "net.nst"
    build_version(path, "a")
    return path


def rewrite(path: Path, **fields: object) -> None:
    """Change fields of a manifest, with the hash that then belongs to it."""
    raw = msgspec.json.decode((path / MANIFEST).read_bytes()) | fields
    (path / MANIFEST).write_bytes(data := msgspec.json.encode(raw))
    (path / f"{MANIFEST}.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  {MANIFEST}\n")


def test_what_is_written_is_what_is_read(path: Path) -> None:
    bundle = open_bundle(path)
    hashes = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in ("model.bin", "model.xml")}
    assert bundle == Bundle(path, msgspec.structs.replace(manifest(), files=hashes))
    assert bundle.file("model.bin") == VERSIONS["a"]
    assert sorted(file.name for file in path.iterdir()) == FILES
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(BundleError, match=r"the manifest lists no engine\.plan; build the engine again"):
        bundle.file("engine.plan")


def test_sha256sum_can_check_the_manifest(path: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--status", f"{MANIFEST}.sha256"], cwd=path, check=True)


@given(data=st.data())
def test_any_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("bundle") / "net.nst"
    build_version(path, "a")
    name = data.draw(st.sampled_from(FILES), "file")
    content = bytearray((path / name).read_bytes())
    # All that is read of the last one is the hash; sha256sum wants the rest.
    position = data.draw(st.integers(0, 63 if name.endswith(".sha256") else len(content) - 1), "position")
    content[position] ^= data.draw(st.integers(1, 255), "mask")
    (path / name).write_bytes(content)
    with pytest.raises(BundleError, match=r"net\.nst: .* does not match its hash"):
        open_bundle(path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["lengthened", "truncated", "removed"])
def test_files_of_another_length_and_missing_ones(path: Path, name: str, change: str) -> None:
    content = (path / name).read_bytes()
    if change == "removed":
        (path / name).unlink()
    else:
        (path / name).write_bytes(b" " + content if change == "lengthened" else content[: len(content) // 2])
    with pytest.raises(BundleError, match=r"net\.nst: .*(does not match its hash|missing|not an engine bundle)"):
        open_bundle(path)


@pytest.mark.parametrize("name", ["../other.nst/model.bin", "/etc/hostname", "..", ".", "", "sub/model.bin"])
def test_a_manifest_names_files_of_its_own_folder_only(path: Path, name: str) -> None:
    build_version(path.parent / "other.nst", "a")
    rewrite(path, files={name: hashlib.sha256(VERSIONS["a"]).hexdigest()})
    with pytest.raises(BundleError, match="which lies outside the bundle"):
        open_bundle(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format_version": 1}, r"it has format 1, but this nstopt reads format 2; build the engine again"),
        ({"format_version": "one"}, r"manifest\.json is not valid: Expected `int`, got `str`"),
        ({"shape": {"batch": 1}}, r"manifest\.json is not valid: Object missing required field `sizes`"),
        ({"files": ["model.bin"]}, r"manifest\.json is not valid: Expected `object`, got `array`"),
    ],
)
def test_manifests_of_another_form(path: Path, fields: dict[str, object], message: str) -> None:
    rewrite(path, **fields)
    with pytest.raises(BundleError, match=message):
        open_bundle(path)


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"[]", b"{", b'{"format_version": 2, "net": "\xff"}'])
def test_manifests_that_are_no_json(path: Path, raw: bytes) -> None:
    (path / MANIFEST).write_bytes(raw)
    (path / f"{MANIFEST}.sha256").write_text(f"{hashlib.sha256(raw).hexdigest()}  {MANIFEST}\n")
    with pytest.raises(BundleError, match=r"manifest\.json is not valid: "):
        open_bundle(path)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no\.nst: no such folder; build one with: nstopt build-engine NET\.onnx"):
        open_bundle(tmp_path / "no.nst")
    with pytest.raises(BundleError, match=r"not an engine bundle \(no manifest\.json in it\)"):
        open_bundle(tmp_path)
    (tmp_path / "file.nst").write_text("")
    with pytest.raises(BundleError, match="not an engine bundle"):
        open_bundle(tmp_path / "file.nst")


def test_bundles_and_other_files_are_told_apart(path: Path, tmp_path: Path) -> None:
    """By the suffix, or by what is in the folder: a checkpoint may be a folder with a manifest.json too."""
    assert is_bundle(path.rename(tmp_path / "renamed"))
    assert is_bundle(tmp_path / "missing.nst")
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / MANIFEST).write_text("{}")
    assert not is_bundle(checkpoint)
    assert not is_bundle(tmp_path / "photo.jpg")


def test_a_new_bundle_takes_the_place_of_the_old_one(path: Path) -> None:
    build_version(path, "b")
    assert open_bundle(path).file("model.bin") == VERSIONS["b"]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_the_old_bundle(path: Path, error: BaseException) -> None:
    def fail() -> None:
        with new_bundle(path) as draft:
            (draft.folder / "model.bin").write_bytes(b"half of the")
            raise error

    with pytest.raises((BundleError, KeyboardInterrupt), match=r"cannot be written: No space left|^$"):
        fail()
    assert open_bundle(path).manifest.net.name == "a"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk(tmp_path: Path) -> None:
    code = "import sys, test_bundle; test_bundle.build_version(test_bundle.Path(sys.argv[1]), 'a')"
    failed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "net.nst")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8)),
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith("net.nst: cannot be written: File too large")
    assert list(tmp_path.iterdir()) == []


def test_a_kill_at_any_moment_leaves_the_old_bundle_or_the_new_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "faults.killed_builds", str(tmp_path / "net.nst")]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_folders_of_running_builds_are_left_alone(path: Path) -> None:
    running, ended = (path.parent / f".net.nst.{pid}.tmp" for pid in (os.getppid(), 2**22 + 1))
    for folder in (running, ended):
        folder.mkdir()
    build_version(path, "b")
    assert sorted(path.parent.iterdir()) == [running, path]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_bundle_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photos"
    if kind == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "mine.txt").write_text("mine")
    with pytest.raises(BundleError, match="photos: cannot be written: it exists and is not an engine bundle; choose"):
        build_version(path, "a")
    assert path.read_text() == "mine" if kind == "file" else [file.name for file in path.iterdir()] == ["mine.txt"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"out\.nst: cannot be written: .*file is not a folder$"):
        build_version(tmp_path / "file" / "out.nst", "a")

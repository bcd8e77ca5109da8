"""Test data of the C++ tests: whole and damaged bundles, pictures, and Python's results on them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from conftest import noise

import nstopt
from nstopt.bundle import MANIFEST, Bundle
from nstopt.files import sha256_file
from nstopt.manifest import FORMAT_VERSION

# Maps each kind of damage to the C++ library's message. Python's messages differ where they quote its JSON library.
DAMAGES = {
    "changed-weights": "model.bin does not match its hash (damaged or changed); build the engine again",
    "lengthened-weights": "model.bin does not match its hash",
    "changed-manifest": "manifest.json does not match its hash; build the engine again",
    "no-weights": "model.bin is missing; build the engine again",
    "no-manifest": "not an engine bundle (no manifest.json in it)",
    "no-hash": "manifest.json does not match its hash",
    "unlisted-weights": "the manifest lists no model.bin; build the engine again",
    "other-format": "bundle format 1, but this nstopt reads format 2; build the engine again with this version",
    "text-format": "manifest.json is not valid: ",
    "no-shape": "manifest.json is not valid: ",
    "no-sizes": "manifest.json is not valid: ",
    "sizes-of-a-word": "manifest.json is not valid: sizes is not a list",
    "size-without-a-list": "manifest.json is not valid: a size is not [height, width]",
    "size-of-three-sides": "manifest.json is not valid: a size is not [height, width]",
    "height-of-text": "manifest.json is not valid: height is not a whole number in 16..16384",
    "width-of-a-fraction": "manifest.json is not valid: width is not a whole number in 16..16384",
    "height-of-zero": "manifest.json is not valid: height is not a whole number in 16..16384",
    "batch-of-zero": "manifest.json is not valid: batch is not a whole number in 1..4096",
    "list-of-files": "manifest.json is not valid: ",
    "no-json": "manifest.json is not valid: ",
    "no-utf8": "manifest.json is not valid: ",
    "path-above": "the manifest names '../any.nst/model.bin', which lies outside the bundle",
    "path-absolute": "the manifest names '/etc/hostname', which lies outside the bundle",
    "path-to-itself": "the manifest names '.', which lies outside the bundle",
    "short-hash": "manifest.json does not match its hash",
    "other-size": "not the engine that its manifest states",
    "other-batch": "not the engine that its manifest states",
    "no-such-folder": "no such folder; build one with: nstopt build-engine",
}  # fmt: skip

# Plans for the double of TensorRT; cpp/tests/host_gpu/tensorrt.cpp describes the format.
PLANS = {
    "plan-one": "static 1 32 48 1 32 48",
    "plan-sizes": "dynamic 1 32 48 1 32 48  1 32 48 1 32 48  1 16 16 1 16 16",
    "plan-any": "dynamic 1 16 16 4 64 64",
    "plan-float": "float 1 16 16 4 64 64",
    "plan-larger": "larger 1 16 16 4 64 64",
    "plan-damaged": "dynamic",
}


def prepare(folder: Path, cases: Sequence[tuple[Bundle, int, int, int]]) -> None:
    """Write pictures of noise and Python's results on them. A case is a bundle, a batch, a height and a width."""
    lines = []
    for number, (bundle, batch, height, width) in enumerate(cases):
        path = folder / f"{bundle.path.stem}.nst"
        if not path.exists():
            shutil.copytree(bundle.path, path)
        pictures = np.stack([noise(height, width, seed) for seed in range(batch)])
        with nstopt.load(path) as engine:
            engine(pictures).tofile(folder / f"{number}.out")
        pictures.tofile(folder / f"{number}.in")
        lines.append(f"{path.name} {batch} {height} {width} {number}.in {number}.out\n")
    (folder / "cases.txt").write_text("".join(lines))


def prepare_variants(folder: Path, good: Bundle, fixed: Bundle) -> None:
    """Write `fixed`, which takes two pictures of 48x64, and variants of `good`, which takes pictures of any size and
    number: one with a manifest that takes several sizes, the others damaged."""
    shutil.copytree(good.path, folder / "any.nst")
    shutil.copytree(fixed.path, folder / "fixed.nst")
    shutil.copytree(good.path, folder / "sizes.nst")
    rewrite(folder / "sizes.nst", shape={"batch": None, "sizes": [[48, 64], [32, 32]]})
    shutil.copytree(good.path, folder / "nonsense.nst")
    (folder / "nonsense.nst" / "model.xml").write_bytes(b"nonsense")
    digests = {name: sha256_file(folder / "nonsense.nst" / name) for name in good.manifest.files}
    rewrite(folder / "nonsense.nst", files=digests)
    for name in DAMAGES:
        damage(folder / f"{name}.nst", good, name)
    (folder / "damaged.txt").write_text("".join(f"{name}.nst {message}\n" for name, message in DAMAGES.items()))


def prepare_plans(folder: Path) -> None:
    """Write PLANS as bundles for any size, so that only the plan itself can refuse a size."""
    for name, plan in PLANS.items():
        path = folder / f"{name}.nst"
        path.mkdir()
        (path / "engine.plan").write_text(plan)
        manifest = {
            "format_version": FORMAT_VERSION,
            "net": {"name": name},
            "backend": {"name": "tensorrt"},
            "shape": {"batch": None, "sizes": []},
            "files": {"engine.plan": sha256_file(path / "engine.plan")},
        }
        write_manifest(path, msgspec.json.encode(manifest))


def damage(path: Path, good: Bundle, name: str) -> None:
    """Copy `good` to `path` and damage the copy in the way that `name` names."""
    if name == "no-such-folder":
        return
    shutil.copytree(good.path, path)
    weights, manifest, digest = path / "model.bin", path / MANIFEST, good.manifest.files["model.bin"]
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    edits: dict[str, Callable[[], object]] = {
        "changed-weights": lambda: weights.write_bytes(content),
        "lengthened-weights": lambda: weights.write_bytes(weights.read_bytes() + b"\0"),
        "changed-manifest": lambda: manifest.write_bytes(manifest.read_bytes() + b" "),
        "no-weights": weights.unlink,
        "no-manifest": manifest.unlink,
        "no-hash": manifest.with_name(f"{MANIFEST}.sha256").unlink,
        "unlisted-weights": lambda: rewrite(path, files={"model.xml": good.manifest.files["model.xml"]}),
        "other-format": lambda: rewrite(path, format_version=1),
        "text-format": lambda: rewrite(path, format_version="one"),
        "no-shape": lambda: rewrite(path, shape=None),
        "no-sizes": lambda: rewrite(path, shape={"batch": 1, "height": 48, "width": 64}),
        "sizes-of-a-word": lambda: rewrite(path, shape={"batch": 1, "sizes": "any"}),
        "size-without-a-list": lambda: rewrite(path, shape={"batch": 1, "sizes": [48, 64]}),
        "size-of-three-sides": lambda: rewrite(path, shape={"batch": 1, "sizes": [[48, 64, 3]]}),
        "height-of-text": lambda: rewrite(path, shape={"batch": 1, "sizes": [["48", 64]]}),
        "width-of-a-fraction": lambda: rewrite(path, shape={"batch": 1, "sizes": [[48, 64.5]]}),
        "height-of-zero": lambda: rewrite(path, shape={"batch": 1, "sizes": [[0, 64]]}),
        "batch-of-zero": lambda: rewrite(path, shape={"batch": 0, "sizes": []}),
        "list-of-files": lambda: rewrite(path, files=["model.bin"]),
        "no-json": lambda: write_manifest(path, b"{"),
        "no-utf8": lambda: write_manifest(path, b'{"format_version": 2, "net": "\xff"}'),
        "path-above": lambda: rewrite(path, files={"../any.nst/model.bin": digest}),
        "path-absolute": lambda: rewrite(path, files={"/etc/hostname": digest}),
        "path-to-itself": lambda: rewrite(path, files={".": digest}),
        "short-hash": lambda: shorten(path / f"{MANIFEST}.sha256"),
        "other-size": lambda: rewrite(path, shape={"batch": None, "sizes": [[48, 64]]}),
        "other-batch": lambda: rewrite(path, shape={"batch": 2, "sizes": []}),
    }
    edits[name]()


def shorten(path: Path) -> None:
    """Cut the last byte off."""
    path.write_bytes(path.read_bytes()[:-1])


def rewrite(path: Path, **fields: object) -> None:
    """Change fields of a manifest, and write the hash of the result."""
    manifest = msgspec.json.decode((path / MANIFEST).read_bytes()) | fields
    write_manifest(path, msgspec.json.encode(manifest))


def write_manifest(path: Path, raw: bytes) -> None:
    (path / MANIFEST).write_bytes(raw)
    (path / f"{MANIFEST}.sha256").write_text(f"{hashlib.sha256(raw).hexdigest()}  {MANIFEST}\n")

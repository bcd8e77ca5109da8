"""Engines that run large pictures in strips, and what they say."""

from __future__ import annotations

import re
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from conftest import noise

from nstopt import engines
from nstopt.bundle import Bundle
from nstopt.errors import BundleError
from nstopt.strips import engine as strips
from nstopt.strips.memory import available_bytes, resident_bytes

MIB = 1 << 20


def test_pictures_that_fit_are_run_as_a_whole(any_size_bundle: Bundle) -> None:
    said: list[str] = []
    with strips.load(any_size_bundle.path, announce=said.append) as engine, engines.load(any_size_bundle.path) as whole:
        assert engine.shape == whole.shape
        for picture in (noise(33, 50), noise(40, 40)[None]):
            np.testing.assert_array_equal(engine(picture), whole(picture))
    assert said == []


def test_pictures_that_do_not_fit(any_size_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    picture = noise(900, 700)
    with engines.load(any_size_bundle.path) as whole:
        expected = whole(picture)
    monkeypatch.setattr(strips, "RESERVE", 0)
    with strips.load(any_size_bundle.path, resident_bytes() + 40 * MIB, announce=said.append) as engine:
        found = engine(picture)
        assert np.abs(found.astype(np.int16) - expected).max() <= 1
        assert re.fullmatch(
            r"a picture of 900x700 is run in strips: it may take \d\.\d GiB of memory, and takes 0\.0 GiB in \S+",
            said[0],
        )
        with pytest.raises(
            BundleError, match=r"a picture of 900x9000 needs \d+ MiB of memory more than it may take, even"
        ):
            engine(noise(900, 9000))


def test_engines_that_cannot(int8_bundle: Bundle) -> None:
    with pytest.raises(
        BundleError, match=r"--max-memory needs .*; this one is of openvino for 1x48x64: build one with --"
    ):
        strips.load(int8_bundle.path, 2**30)
    with strips.load(int8_bundle.path) as engine:
        assert engine(noise(48, 64)).shape == (48, 64, 3)


def test_bundles_of_an_older_version(any_size_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: digest for name, digest in any_size_bundle.manifest.files.items() if name != "graph.onnx"}
    older = Bundle(any_size_bundle.path, msgspec.structs.replace(any_size_bundle.manifest, files=files))
    monkeypatch.setattr(strips, "open_bundle", lambda path: older)
    with strips.load(older.path) as engine:
        assert engine(noise(40, 40)).shape == (40, 40, 3)
    with (
        strips.load(older.path, resident_bytes() + 40 * MIB) as engine,
        pytest.raises(BundleError, match=r"lists no graph\.onnx; build the engine again"),
    ):
        engine(noise(900, 700))


def test_memory_of_this_process() -> None:
    assert 10 * MIB < resident_bytes() < available_bytes() + resident_bytes()


def peak(bundle: Bundle, *options: str) -> int:
    """Stylize a large picture in another process; return the most memory that it had."""
    code = (
        "import sys, numpy as np; from pathlib import Path; from nstopt.strips import engine\n"
        "picture = np.random.default_rng(0).integers(0, 256, (2600, 2500, 3), dtype=np.uint8)\n"
        "engine.load(Path(sys.argv[1]), *map(int, sys.argv[2:]))(picture)\n"
        "line = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(int(line.split()[1]) * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, bundle.path, *options], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_the_limit_is_obeyed(any_size_bundle: Bundle) -> None:
    limit = 480 * MIB
    assert peak(any_size_bundle, str(limit)) <= limit < peak(any_size_bundle)

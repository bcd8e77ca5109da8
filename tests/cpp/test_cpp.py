"""The C++ runtime: its own tests on Python's bundles and pictures, its example, and the program in docs/cpp.md."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import noise
from cpp.conftest import ROOT, tool
from cpp.data import DAMAGES, ONLY_CPP
from PIL import Image

import nstopt
from nstopt.bundle import Bundle, open_bundle
from nstopt.errors import BundleError


def test_the_library(built: Path, data: Path) -> None:
    tool("ctest", "--test-dir", built, "--output-on-failure", NSTOPT_TEST_DATA=str(data))


def test_the_library_with_sanitizers(sanitized: Path, data: Path) -> None:
    tool("ctest", "--test-dir", sanitized, "--output-on-failure", NSTOPT_TEST_DATA=str(data))

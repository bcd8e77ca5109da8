"""Seeding of the tests of nets."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Give every test the same random weights in every run."""
    torch.manual_seed(0)

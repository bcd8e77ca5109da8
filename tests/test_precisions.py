"""Names of precisions and their parts."""

from __future__ import annotations

import pytest

from nstopt.errors import BuildError
from nstopt.precisions import PRECISIONS, between, is_quantized, parts, require_known


def test_parts_of_a_name() -> None:
    assert {name: between(name) for name in PRECISIONS if is_quantized(name)} == {
        "int8": "fp32",
        "int8-bf16": "bf16",
        "int8-fp16": "fp16",
    }
    assert [parts(name) for name in ("bf16", "int8-bf16")] == [("bf16",), ("int8", "bf16")]


def test_an_unknown_name() -> None:
    require_known("bf16")
    with pytest.raises(BuildError, match="unknown precision 'fp8'; there are: fp32, bf16, fp16, int8"):
        require_known("fp8")

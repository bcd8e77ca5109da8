"""Builder flags against the recorded API of each TensorRT version (surfaces.json)."""

from __future__ import annotations

import ast
import enum
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nstopt.engines.tensorrt
from nstopt.engines.tensorrt.flags import Flags, flags_for, mask, profiles_per_size, shares_profiles

SURFACES: dict[str, Any] = json.loads(Path(__file__).with_name("surfaces.json").read_text())
ROOT = Path(__file__).parents[3]
WEAK = ("8.5.3.1", "8.6.0")
# Members that the code uses only if they exist.
OPTIONAL = {"progress_monitor", "set_flag"}
OF_PINS = {"network": "INetworkDefinition", "layer": "ILayer", "out": "ITensor"}
CLASS_OF = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "context": "IExecutionContext",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "runtime": "Runtime",
    "cache": "ITimingCache",
}


def test_the_extra_takes_the_major_versions_whose_api_is_recorded() -> None:
    (wanted,) = re.findall(r'gpu = \["tensorrt>=(\d+)\.\d+,<(\d+)"', (ROOT / "pyproject.toml").read_text())
    recorded = {int(version.split(".")[0]) for version in SURFACES} - {8}
    assert recorded == set(range(int(wanted[0]), int(wanted[1])))


def trt(version: str) -> SimpleNamespace:
    """Return a module with the enums of a version."""
    enums = SURFACES[version]["enums"]
    return SimpleNamespace(**{name: enum.Enum(name, members, start=0) for name, members in enums.items()})


def test_recorded_apis_name_their_source() -> None:
    assert {version.split(".")[0] for version in SURFACES} == {"8", "10", "11"}
    assert all("tensorrt" in surface["source"].lower() for surface in SURFACES.values())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("version", list(SURFACES))
def test_every_name_exists(version: str, precision: str) -> None:
    api, found = trt(version), flags_for(trt(version), precision)
    for kind, names in (
        (api.NetworkDefinitionCreationFlag, found.network),
        (api.BuilderFlag, (*found.enable, *found.disable)),
        (api.TacticSource, found.tactic_sources),
        (api.PreviewFeature, found.preview),
    ):
        assert set(names) <= set(kind.__members__)
    assert not {"CUDNN", "CUBLAS", "CUBLAS_LT"} & set(found.tactic_sources)
    assert found.disable == ("TF32",)


@pytest.mark.parametrize("version", [version for version in SURFACES if version not in WEAK])
def test_int8_with_fp16_sets_no_flags(version: str) -> None:
    assert flags_for(trt(version), "int8-fp16") == flags_for(trt(version), "fp32")


@pytest.mark.parametrize("version", list(SURFACES))
def test_precision_is_a_flag_in_8_and_in_the_graph_later(version: str) -> None:
    found = {precision: flags_for(trt(version), precision) for precision in ("fp32", "fp16", "int8")}
    if version in WEAK:
        assert [found[p].enable for p in found] == [(), ("FP16", "OBEY_PRECISION_CONSTRAINTS"), ("INT8",)]
        assert [found[p].pins_types for p in found] == [False, True, False]
        assert {flags.network for flags in found.values()} == {("EXPLICIT_BATCH",)}
    else:
        assert {flags.enable for flags in found.values()} == {()}
        assert {flags.network for flags in found.values()} == {("STRONGLY_TYPED",)}
        assert not any(flags.pins_types for flags in found.values())


def test_flags_of_the_oldest_and_the_newest_version() -> None:
    assert flags_for(trt("8.5.3.1"), "int8") == Flags(
        ("EXPLICIT_BATCH",),
        ("INT8",),
        ("TF32",),
        ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"),
        ("DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805",),
        False,
    )
    assert flags_for(trt("11.1"), "int8") == Flags(
        ("STRONGLY_TYPED",), (), ("TF32",), ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"), (), False
    )


@pytest.mark.parametrize("version", list(SURFACES))
def test_tf32_may_be_asked_for(version: str) -> None:
    assert flags_for(trt(version), "fp32", tf32=True) == flags_for(trt(version), "fp32")._replace(disable=())


def test_a_mask_has_a_bit_for_each_member() -> None:
    kind = enum.IntEnum("kind", ["A", "B", "C"], start=0)
    assert mask(kind, ("A", "C")) == 0b101
    assert mask(kind, ()) == 0


def test_profiles_are_shared_from_8_6_on() -> None:
    versions = ("8.5.3.1", "8.6.1.post1", "10.0.1", "11.1")
    assert [shares_profiles(version) for version in versions] == [False, True, True, True]
    assert [profiles_per_size(version) for version in versions] == [3, 1, 1, 1]


def used(*files: str, class_of: Mapping[str, str] = CLASS_OF) -> dict[str, set[str]]:
    """Return the members of TensorRT's classes that our modules use, by class: attributes of variables that hold an
    instance, whose names `class_of` knows."""
    found: dict[str, set[str]] = {}
    folder = Path(nstopt.engines.tensorrt.__file__).parent
    for name in files:
        for node in ast.walk(ast.parse((folder / name).read_text())):
            if isinstance(node, ast.Attribute):
                holder = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
                if holder in class_of:
                    found.setdefault(class_of[holder], set()).add(node.attr)
    return found


@pytest.mark.parametrize("version", list(SURFACES))
def test_every_member_that_is_used_exists(version: str) -> None:
    members = SURFACES[version]["classes"]
    names = used("worker.py", "lane.py", "engine.py")
    assert len(names) >= 7
    assert {"build_serialized_network", "create_network"} <= names["Builder"]
    assert {"execute_async_v3", "set_tensor_address"} <= names["IExecutionContext"]
    for kind, attributes in names.items():
        assert attributes - OPTIONAL <= set(members[kind]), kind
    assert ("IProgressMonitor" in members) == ("progress_monitor" in members["IBuilderConfig"])


@pytest.mark.parametrize("version", WEAK)
def test_every_member_that_pins_use_exists_in_8(version: str) -> None:
    names = used("pins.py", class_of=OF_PINS)
    assert {"precision", "set_output_type"} <= names["ILayer"]
    for kind, attributes in names.items():
        assert attributes <= set(SURFACES[version]["classes"][kind]), kind

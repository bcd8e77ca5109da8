from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.few_outputs import FewOutputs

from .equivalence import (
    Dims,
    Graph,
    applied,
    batches,
    bias_or_none,
    biased,
    declined,
    noise,
    operators,
    random_graphs,
    rewritten,
    sides,
)

kernels = st.integers(3, 9)


@random_graphs
@given(
    batches,
    st.integers(8, 11),
    st.integers(1, 4),
    st.tuples(kernels, kernels),
    sides,
    sides,
    st.lists(st.integers(0, 4), min_size=4, max_size=4),
    biased,
    st.sampled_from(["phase", "split"]),
)
def test_random_graphs(
    batch: int,
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    height: int,
    width: int,
    pads: list[int],
    bias: bool,
    form: str,
) -> None:
    g = Graph((batch, inputs, height + kernel[0], width + kernel[1]))
    y = g.Conv("x", noise(outputs, inputs, *kernel), *bias_or_none(bias, outputs), pads=pads)
    after, events = rewritten(g.model(y), FewOutputs, form)
    odd = any((n + 1 + pads[i] + pads[i + 2]) % 2 for i, n in enumerate((height, width)))
    if form == "phase" and odd:
        assert events[0].reason.startswith("phase form needs an even height and width")
        assert operators(after) == ["Conv"]
    else:
        assert operators(after) == (["Conv", "DepthToSpace"] if form == "phase" else ["Conv", "Conv"])


def test_split_form_fits_any_size() -> None:
    g = Graph(("N", 8, "H", "W"))
    y = g.Conv("x", noise(3, 8, 5, 3), noise(3), pads=[2, 1, 2, 1])
    assert operators(applied(g.model(y, g.Relu(y)), FewOutputs, "split")) == ["Conv", "Conv", "Relu"]
    declined(g.model(y), FewOutputs, "needs an even height and width, not any", form="phase")


SIZE: Dims = (1, 8, 12, 12)


@pytest.mark.parametrize("form", ["phase", "split"])
@pytest.mark.parametrize(
    ("weight", "attributes"),
    [
        ((2, 8, 3, 3), {"strides": [2, 2]}),
        ((2, 8, 3, 3), {"dilations": [1, 2]}),
        ((2, 8, 2, 3), {}),
        ((2, 8, 3, 1), {}),
    ],
)
def test_declines_convolutions(form: str, weight: tuple[int, ...], attributes: dict[str, list[int]]) -> None:
    g = Graph(SIZE)
    y = g.Conv("x", noise(*weight), **attributes)
    declined(g.model(y), FewOutputs, "grouped, strided, dilated, or its kernel is narrow", form=form)


def test_declines_groups() -> None:
    g = Graph((1, 16, 12, 12))
    declined(g.model(g.Conv("x", noise(2, 8, 3, 3), group=2)), FewOutputs, "grouped", form="split")


def test_leaves_other_convolutions() -> None:
    g = Graph(SIZE)
    declined(g.model(g.Conv("x", noise(5, 8, 3, 3))), FewOutputs, form="split")
    declined(g.model(g.Conv("x", noise(2, 8, 3, 3))), FewOutputs, form="plain")
    declined(g.model(g.Conv("x", noise(2, 8, 3, 3), auto_pad="SAME_UPPER")), FewOutputs, form="split")
    g = Graph((1, 7, 12, 12))
    declined(g.model(g.Conv("x", noise(2, 7, 3, 3))), FewOutputs, form="split")

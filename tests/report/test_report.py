"""The report: its figures, measured and projected told apart, and a page without errors in a browser."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from browser import PHONE, as_phone, open_chromium
from made import MakeBundle, MakeRecord, MakeRun
from selenium import webdriver
from selenium.webdriver.common.by import By

from nstopt.bundle import MANIFEST
from nstopt.errors import NstoptError
from nstopt.files import sha256_file
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size
from nstopt.report import charts, page, tables
from nstopt.report.before_after import Missing, Pair, before_after
from nstopt.report.series import nets, pareto
from nstopt.runs.layers import Bandwidth, LayerRow, Layers, Peaks
from nstopt.runs.projected import Projected
from nstopt.runs.run_file import RunFile

PEAKS = Peaks(1.0, None, (Bandwidth(1, 2.0),))
PROJECTED = Projected("wave", "gtx-1060", "GeForce GTX 1060 6 GB", "tensorrt", "int8", 512, 512, 1, 9.0, 21.0, 60.0)


@pytest.fixture
def full_run(make_bundle: MakeBundle, make_record: MakeRecord, make_run: MakeRun) -> RunFile:
    """Make a run of two sizes and two precisions, with real engines at the small size.

    It has a peer whose name must be escaped in HTML, layers, a projection, and a warning.
    """
    bundles = {name: make_bundle(name, InputShape.of(1, Size(48, 48))) for name in ("fp32", "int8")}
    records = []
    for precision, bundle in bundles.items():
        small = {
            "bundle": str(bundle), "sha256": sha256_file(bundle / MANIFEST), "label": bundle.name,
            "precision": precision, "height": 48, "width": 48,
        }  # fmt: skip
        records += [make_record((2.0,) * 6, **small), make_record((40.0,) * 6, precision=precision, label="large.nst")]
    peer = make_record((80.0,) * 6, is_peer=True, label="<b>torch</b> & co", bundle=None, psnr_db=None, ssim=None)
    layers = Layers("large.nst", "a" * 64, 512, 512, 1, "openvino", 3, PEAKS, (LayerRow("conv", "Conv", 3.0, 1.0),))
    warned = make_record((41.0,) * 6, label="warned.nst", warnings=("load average 9.9",))
    return make_run(*records, peer, warned, layers=(layers,), projected=(PROJECTED,), left_out=("tensorrt: no GPU",))


@pytest.fixture
def without_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the charts of a page empty: drawing them takes most of its time."""
    monkeypatch.setattr(charts, "svg", lambda figure, name, label: "")


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """Start a headless browser. Skips if there is none."""
    with open_chromium(tmp_path) as browser:
        yield browser


def test_in_a_browser(full_run: RunFile, chromium: webdriver.Chrome, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page.render([full_run]))
    as_phone(chromium)
    chromium.get(file.as_uri())
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    assert len(chromium.find_elements(By.CSS_SELECTOR, "svg[role=img]")) == 4
    stack = chromium.find_element(By.CSS_SELECTOR, ".stack")
    shown = "return getComputedStyle(arguments[0].querySelectorAll('img')[1]).clipPath"
    before = chromium.execute_script(shown, stack)
    slider = chromium.find_element(By.CSS_SELECTOR, "input[type=range]")
    slider.send_keys(webdriver.Keys.END)
    assert (before, chromium.execute_script(shown, stack)) == ("inset(0px 0px 0px 50%)", "inset(0px 0px 0px 100%)")
    assert chromium.execute_script("return arguments[0].querySelector('img').naturalWidth", stack) == 48
    assert chromium.get_log("browser") == []  # type: ignore[no-untyped-call]
    assert chromium.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_the_page_is_self_contained_and_escapes_names(full_run: RunFile) -> None:
    html = page.render([full_run])
    assert "http" not in html.replace("http://www.w3.org/", "")
    assert "<b>torch" not in html
    assert "&lt;b&gt;torch&lt;/b&gt; &amp; co" in html
    assert 'name="viewport"' in html
    assert charts.INK not in html
    assert "prefers-color-scheme: dark" in html
    assert "9.0–21.0" in html
    assert "◇ not measured" in html
    assert "load average 9.9" in html
    assert "tensorrt: no GPU" in html
    assert "A CPU, 2 cores, 7.8 GiB" in html


def test_projected_and_measured_points_differ_in_color(make_record: MakeRecord, make_run: MakeRun) -> None:
    peers = [make_record(label=f"peer {number}", is_peer=True) for number in range(9)]
    targets = [msgspec.structs.replace(PROJECTED, device=f"GPU {number}") for number in range(5)]
    (net,) = nets([make_run(make_record(), *peers, projected=tuple(targets))])
    (axes,) = charts.latency(net).axes
    colors: dict[bool, set[object]] = {True: set(), False: set()}
    for line in axes.lines:
        if line.get_marker() in charts.MARKERS.values():
            colors[line.get_marker() == "D"].add(line.get_color())
    assert len(colors[True]) == len(charts.PROJECTED_PALETTE)
    assert not colors[True] & colors[False]


@pytest.mark.usefixtures("without_charts")
def test_ratios_compare_cases_of_one_run(make_record: MakeRecord, make_run: MakeRun) -> None:
    ours = make_run(make_record((40.0,) * 6))
    theirs = make_run(make_record((80.0,) * 6, label="torch eager", is_peer=True))
    assert "against torch eager" not in page.render([ours, theirs])
    assert "against torch eager" in page.render([make_run(*ours.records, *theirs.records)])


def test_devices_and_nets_are_not_mixed_up(make_record: MakeRecord, make_run: MakeRun) -> None:
    here, there = make_run(make_record()), make_run(make_record(device="B CPU"))
    (net,) = nets([here, there])
    assert [one.name for one in net.series()] == ["openvino int8, A CPU", "openvino int8, B CPU"]
    with pytest.raises(NstoptError, match="two different nets called wave: report them separately"):
        nets([here, make_run(make_record(net_sha256="c" * 64))])


@pytest.mark.usefixtures("without_charts")
def test_a_run_without_projections_says_so(make_record: MakeRecord, make_run: MakeRun) -> None:
    html = page.render([make_run(make_record())])
    assert "nothing here is projected" in html
    assert "No FP32 and INT8 pictures: the run has no FP32 and INT8 engine of one size" in html


def test_measured_and_projected_points_differ_in_marker(full_run: RunFile) -> None:
    (net,) = nets([full_run])
    kinds = {one.kind: charts.MARKERS[one.kind] for one in net.series()}
    assert kinds.keys() == {"engine", "peer", "projected"}
    assert len(set(kinds.values())) == 3
    lines = charts.latency(net).axes[0].lines
    assert {line.get_marker() for line in lines} >= {"o", "s", "D"}
    hollow = [line for line in lines if line.get_marker() == "D"]
    assert all(line.get_markerfacecolor() == "none" for line in hollow)


def test_axes_are_logarithmic_with_lines_for_real_time(full_run: RunFile) -> None:
    axes = charts.latency(nets([full_run])[0]).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    flat = {round(line.get_ydata()[0], 1) for line in axes.lines if len(set(line.get_ydata())) == 1}  # type: ignore[arg-type,index]
    assert {33.3, 16.7} <= flat


def test_the_pareto_front_leaves_out_beaten_records(make_record: MakeRecord) -> None:
    fast, good, beaten = ((10.0, 40.0), (20.0, 50.0), (21.0, 45.0))
    records = [make_record((ms,), psnr_db=psnr) for ms, psnr in (good, beaten, fast)]
    assert [(r.latency_ms.p50, r.psnr_db) for r in pareto(records)] == [fast, good]


def test_pictures_are_made_by_the_engines_of_the_run_only(full_run: RunFile) -> None:
    (net,) = nets([full_run])
    pair = before_after(net, None)
    assert isinstance(pair, Pair)
    assert pair.before.startswith("data:image/jpeg;base64,")
    assert (pair.size, pair.psnr_db, pair.photograph) == ((48, 48), 100.0, "astronaut.png")
    bundle = next(Path(r.bundle) for r in net.records if r.height == 48 and r.bundle)
    shutil.rmtree(bundle)
    gone = before_after(net, None)
    assert isinstance(gone, Missing)
    assert gone.reason.endswith(".nst no longer exists, or was built again since the run")


def test_csv_has_a_row_for_each_case(full_run: RunFile) -> None:
    rows = list(csv.DictReader(io.StringIO(tables.to_csv([full_run]))))
    assert [row["kind"] for row in rows] == ["measured"] * 6 + ["projected"]
    assert (rows[0]["p50_ms"], rows[0]["low_ms"]) == ("2.0", "")
    assert (rows[-1]["p50_ms"], rows[-1]["low_ms"], rows[-1]["high_ms"]) == ("", "9.0", "21.0")


def test_markdown_names_the_machine_once_and_marks_projections(full_run: RunFile) -> None:
    text = tables.to_markdown([full_run, full_run])
    assert text.count("Measured on A CPU, 2 cores") == 1
    assert "| projected | wave | GeForce GTX 1060 6 GB, tensorrt int8 | 512x512 | 9.0–21.0 | 48–111 | ≥60 |  |" in text


@pytest.mark.usefixtures("without_charts")
def test_a_peer_is_shown_with_what_it_computes_in(make_record: MakeRecord, make_run: MakeRun) -> None:
    peer = make_record(label="OpenVINO", is_peer=True, bundle=None, precision="fp32", computes="bf16")
    run = make_run(make_record(), peer)
    assert "OpenVINO (computes bf16)" in tables.to_markdown([run])
    assert "OpenVINO (computes bf16)" in page.render([run])


def test_png_charts(full_run: RunFile) -> None:
    small = msgspec.structs.replace(full_run.layers[0], height=48, width=48)
    figures = page.figures([msgspec.structs.replace(full_run, layers=(*full_run.layers, small))])
    layers = {"wave-layers-large-512x512", "wave-layers-large-48x48"}
    assert set(figures) == {"wave-latency", "wave-throughput", "wave-quality", *layers}
    assert charts.png(figures["wave-latency"]).startswith(b"\x89PNG")


def test_a_run_without_records_is_refused(make_run: MakeRun) -> None:
    with pytest.raises(NstoptError, match="at least one measured case"):
        page.render([make_run()])


@pytest.mark.parametrize("library", ["matplotlib", "jinja2"])
def test_a_missing_library_is_named(library: str, full_run: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(NstoptError, match=rf"a report needs {library}, .* pip install 'nstopt\[report\]'"):
        page.render([full_run])

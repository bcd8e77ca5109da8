"""The terminal output of a bench, at common widths of a terminal."""

from __future__ import annotations

import io

import msgspec
import pytest
from made import MakeRecord, MakeRun
from rich.console import Console, RenderableType

from nstopt.bench.startup import Startup, StartupFigure
from nstopt.cli.render.limits import baseline_table, startup_report
from nstopt.cli.render.run import run_report
from nstopt.report import page
from nstopt.report.regression import changes
from nstopt.runs.projected import Projected
from nstopt.runs.record import Machine, Stages
from nstopt.runs.run_file import RunPlan


def shown(renderable: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_every_row_stays_on_one_line(width: int, make_record: MakeRecord, make_run: MakeRun) -> None:
    peer = make_record((1090.5,), label="torch eager", is_peer=True, backend="torch", precision="fp32", psnr_db=None)
    text = shown(run_report(make_run(make_record((163.25,)), peer)), width)
    lines = [line.split() for line in text.splitlines()]
    assert ["wave-512x512-int8", "163.2", "163.2", "163.2", "6.1", "211", "CPU", "6.7×"] in lines
    assert ["torch", "eager", "1090.5", "1090.5", "1090.5", "0.9", "211", "CPU", "1.0×"] in lines
    assert ["wave-512x512-int8", "openvino", "int8", "42.1", "0.987", "0.20×", "0.10×", "0.39×", "0.76×"] in lines
    assert max(map(len, text.splitlines())) <= width


def test_the_machine_is_shown_once_and_each_size_has_a_section(make_record: MakeRecord, make_run: MakeRun) -> None:
    text = shown(run_report(make_run(make_record(), make_record(height=256, width=256, batch=4))), 100)
    assert text.startswith(
        "Measured on A CPU, 2 cores, 7.8 GiB; no NVIDIA GPU; Linux 6.1; Python 3.11.7; nstopt 0.1.0,"
    )
    assert text.count("Measured on") == 1
    assert text.index("256x256 x 4") < text.index("\n512x512")


def test_without_a_peer_there_is_no_ratio(make_record: MakeRecord, make_run: MakeRun) -> None:
    assert "vs torch" not in shown(run_report(make_run(make_record())), 100)


def test_a_size_without_the_peer_has_no_ratio(make_record: MakeRecord, make_run: MakeRun) -> None:
    peer = make_record(label="torch eager", is_peer=True)
    text = shown(run_report(make_run(make_record(height=256), peer)), 100)
    assert ["wave-512x512-int8", "40.0", "40.0", "40.0", "25.0", "211", "CPU", "–"] in [
        line.split() for line in text.splitlines()
    ]


def test_rows_are_compared_with_torch_and_lines_with_every_peer(make_record: MakeRecord, make_run: MakeRun) -> None:
    openvino = make_record((80.0,), label="OpenVINO", is_peer=True)
    eager = make_record((400.0,), label="torch eager", is_peer=True)
    text = shown(run_report(make_run(make_record(), openvino, eager)), 80)
    assert "vs torch eager" in text
    assert (
        "Speed of wave-512x512-int8 at 512x512 against: OpenVINO 2.00× (2.00–2.00), torch eager 10.00× (10.00–10.00)"
        in " ".join(text.split())
    )
    assert "vs OpenVINO" in shown(run_report(make_run(make_record(), openvino)), 80)


def test_a_precision_computed_in_another_one_is_marked(make_record: MakeRecord, make_run: MakeRun) -> None:
    assert "fp16→fp32" in shown(run_report(make_run(make_record(precision="fp16", computes="fp32"))), 100)


def test_a_row_names_the_gpu_it_ran_on(make_record: MakeRecord, make_run: MakeRun) -> None:
    machine = Machine("A CPU", 2, 8.0, ("A GPU",), "Linux", "3.11", {})
    text = shown(run_report(make_run(make_record(device="A GPU", machine=machine))), 100)
    assert "A GPU;" in text
    assert " GPU\n" in text


def test_a_note_names_its_rows_unless_it_applies_to_all(make_record: MakeRecord, make_run: MakeRun) -> None:
    common, own = "load average 3.1", "uneven"
    records = [make_record(warnings=(common, own)), make_record(label="b.nst", warnings=(common,))]
    notes = [
        line.strip() for line in shown(run_report(make_run(*records)), 100).splitlines() if line.startswith("Note")
    ]
    assert notes == ["Note: load average 3.1", "Note: uneven (wave-512x512-int8.nst at 512x512)"]


def test_start_up_figures_have_limits() -> None:
    machine = Machine("A CPU", 2, 8.0, (), "Linux", "3.11", {})
    measures = (
        StartupFigure("nstopt --help", "s", 0.254, 0.3, (0.254,)),
        StartupFigure("peak", "MiB", 400.2, 350.0, (400.2,)),
    )
    lines = [line.split() for line in shown(startup_report(Startup("wave.nst", machine, measures)), 80).splitlines()]
    assert ["nstopt", "--help", "0.25", "s", "0.30", "s", "ok"] in lines
    assert ["peak", "400", "MiB", "350", "MiB", "over"] in lines


def test_an_interrupted_run_is_marked(make_record: MakeRecord, make_run: MakeRun) -> None:
    record = make_record()
    run = make_run(record, is_complete=False, plan=RunPlan((record.key,) * 3, 30, "noise", False))
    note = "an interrupted run: 1 of 3 cases; the same command goes on with it"
    assert f"Note: {note}" in shown(run_report(run), 100)
    assert note in page.render([run])
    assert "interrupted" not in shown(run_report(make_run(record)), 100) + page.render([make_run(record)])


def test_projections_are_compared_with_measurements(make_record: MakeRecord, make_run: MakeRun) -> None:
    gpu = Projected("wave", "gtx-1060", "GeForce GTX 1060 6 GB", "tensorrt", "int8", 512, 512, 1, 9.0, 21.0, 60.0)
    here = Projected("wave", "here", "A CPU", "openvino", "int8", 512, 512, 1, 36.0, 49.0, 60.0)
    text = shown(run_report(make_run(make_record(), projected=(gpu, here))), 100)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "Projected, not measured: milliseconds a batch, FPS and MiB at least" in lines
    assert "wave, GTX 1060 6 GB int8 512x512 9.0–21.0 48–111 60 – –" in lines
    assert "wave, openvino here int8 512x512 36–49 20–28 60 40.0 +5%" in lines


def test_steps_of_a_picture_from_file_to_file(make_record: MakeRecord, make_run: MakeRun) -> None:
    stages = Stages("a.jpg", 4.0, None, None, 6.0)
    lines = [line.split() for line in shown(run_report(make_run(make_record(stages=stages))), 80).splitlines()]
    assert ["decode", "net", "encode", "FPS"] in lines
    assert ["wave-512x512-int8", "4.0", "40.0", "6.0", "20.0"] in lines
    copying = make_record(stages=msgspec.structs.replace(stages, upload_ms=1.0, download_ms=2.0))
    lines = [line.split() for line in shown(run_report(make_run(copying)), 80).splitlines()]
    assert ["wave-512x512-int8", "4.0", "1.0", "40.0", "2.0", "6.0", "20.0"] in lines


def test_a_regression_is_red(make_record: MakeRecord, make_run: MakeRun) -> None:
    old, slow = make_run(make_record((40.0,) * 9)), make_run(make_record((50.0,) * 9))
    text = shown(baseline_table(changes(old, slow), 0.05), 100)
    assert ["wave-512x512-int8", "at", "512x512", "40.0", "50.0", "1.250", "1.250–1.250"] in [
        line.split() for line in text.splitlines()
    ]

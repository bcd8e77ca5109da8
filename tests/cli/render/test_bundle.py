"""What `nstopt inspect` shows."""

from __future__ import annotations

from nstopt.bundle import Bundle
from nstopt.cli.render.bundle import rows


def test_an_int8_bundle(int8_bundle: Bundle) -> None:
    shown = dict(rows(int8_bundle))
    manifest = int8_bundle.manifest
    assert shown["bundle"] == f"{int8_bundle.path} (format 1, every hash matches)"
    assert shown["net"] == "tiny: johnson 4/6/8, 1 blocks"
    assert shown["pictures"] == "uint8 RGB, batch x height x width 1x48x64"
    assert shown["precision"] == "int8, computed in int8"
    assert shown["convolutions"] == "8 in int8"
    assert shown["calibrated on"].startswith("5 pictures of ")
    assert shown["judged on"].startswith("1 other pictures of ")
    assert manifest.quality
    assert shown["PSNR"] == f"{manifest.quality.psnr_db_mean:.2f} dB mean, {manifest.quality.psnr_db_worst:.2f} worst"
    names = [value.split()[0] for name, value in rows(int8_bundle) if name == "file"]
    assert names == ["model.bin", "model.xml"]


def test_a_bundle_for_any_size(any_size_bundle: Bundle) -> None:
    shown = dict(rows(any_size_bundle))
    assert shown["pictures"] == "uint8 RGB, batch x height x width 1xanyxany"
    assert not {"calibrated on", "method"} & shown.keys()

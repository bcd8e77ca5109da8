"""Losses against cases computed by hand."""

from __future__ import annotations

import pytest
import torch

from nstopt.train.losses import (
    content_loss,
    feature_temporal_loss,
    gradient_difference_loss,
    gram,
    luminance,
    mean_std_loss,
    output_temporal_loss,
    pixel_loss,
    style_loss,
    total_variation,
)

FEATURES = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # C = 2, H = 1, W = 2


def test_gram_is_the_mean_product_of_two_channels() -> None:
    expected = torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 4
    torch.testing.assert_close(gram(FEATURES), expected)


def test_style_loss_is_the_squared_distance_of_gram_matrices() -> None:
    assert style_loss(FEATURES, gram(FEATURES)).item() == 0
    assert style_loss(FEATURES, torch.zeros(2, 2)).item() == pytest.approx((25 + 121 + 121 + 625) / 16)


def test_style_loss_is_independent_of_positions() -> None:
    assert style_loss(FEATURES.flip(-1), gram(FEATURES)).item() == pytest.approx(0)


def test_style_loss_is_averaged_over_the_batch() -> None:
    batch = torch.cat([FEATURES, torch.zeros_like(FEATURES)])
    assert style_loss(batch, gram(FEATURES)).item() == pytest.approx((25 + 121 + 121 + 625) / 16 / 2)


def test_content_loss_is_the_mean_squared_difference() -> None:
    assert content_loss(FEATURES, torch.zeros_like(FEATURES)).item() == pytest.approx((1 + 4 + 9 + 16) / 4)


def test_total_variation_sums_both_directions() -> None:
    picture = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]])
    assert total_variation(picture).item() == pytest.approx((1 + 9) / 2 + (4 + 16) / 2)
    assert total_variation(torch.full((1, 3, 4, 4), 7.0)).item() == 0


def test_gram_does_not_overflow_in_half_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        matrices = gram(FEATURES.bfloat16() * 300)
    assert matrices.dtype == torch.float32
    torch.testing.assert_close(matrices, gram(FEATURES) * 300**2)


def test_mean_std_loss_compares_means_and_deviations() -> None:
    # Channels 1 2 and 3 4 have means 1.5 and 3.5, and variance 1/2; the style's are 0 and 3, and 0 and 2.
    style = torch.tensor([[[[0.0, 0.0]], [[2.0, 4.0]]]])
    deviation = 0.5**0.5
    expected = (1.5**2 + 0.5**2) / 2 + (deviation**2 + (2**0.5 - deviation) ** 2) / 2
    # The tolerance covers the epsilon under the root.
    assert mean_std_loss(FEATURES, style).item() == pytest.approx(expected, rel=5e-3)
    assert mean_std_loss(FEATURES, FEATURES.flip(-1)).item() == pytest.approx(0)


def test_pixel_and_gradient_losses() -> None:
    picture, target = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]]), torch.zeros(1, 1, 2, 2)
    assert pixel_loss(picture, target).item() == pytest.approx((1 + 2 + 5) / 4)
    assert gradient_difference_loss(picture, target).item() == pytest.approx((1 + 3) / 2 + (2 + 4) / 2)
    # A constant difference has no edges.
    assert gradient_difference_loss(picture + 7, picture).item() == pytest.approx(0)


def test_luminance_weighs_green_most() -> None:
    colors = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [1.0, 1.0, 1.0]]).view(4, 3, 1, 1)
    assert luminance(colors).flatten().tolist() == pytest.approx([0.2126, 0.7152, 0.0722, 1.0])


def test_output_temporal_loss_allows_changes_of_luminance() -> None:
    one = torch.ones(1, 3, 1, 2)
    photo, warped_photo = 0.5 * one, 0.3 * one  # 0.2 lighter
    lighter = output_temporal_loss(0.9 * one, 0.7 * one, photo, warped_photo, torch.ones(1, 1, 1, 2))
    assert lighter.item() == pytest.approx(0, abs=1e-9)
    # The stylized frames do not change where 0.2 was expected: 3 channels of 0.2^2, on one of two pixels.
    visible = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    still = output_temporal_loss(0.7 * one, 0.7 * one, photo, warped_photo, visible)
    assert still.item() == pytest.approx(3 * 0.2**2 / 2)


def test_output_temporal_loss_of_a_change_in_red() -> None:
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    zero, seen = torch.zeros(1, 3, 1, 1), torch.ones(1, 1, 1, 1)
    # All three channels should follow the luminance of red, 0.2126, and none does.
    assert output_temporal_loss(zero, zero, red, zero, seen).item() == pytest.approx(3 * 0.2126**2)


def test_feature_temporal_loss_counts_visible_pixels() -> None:
    visible = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert feature_temporal_loss(FEATURES, torch.zeros_like(FEATURES), visible).item() == pytest.approx((4 + 16) / 4)

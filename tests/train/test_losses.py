"""Losses against cases computed by hand."""

from __future__ import annotations

import pytest
import torch

from nstopt.train.losses import content_loss, gram, style_loss, total_variation

FEATURES = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # C = 2, H = 1, W = 2


def test_gram_is_the_mean_product_of_two_channels() -> None:
    expected = torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 4
    torch.testing.assert_close(gram(FEATURES), expected)


def test_style_loss_is_the_squared_distance_of_gram_matrices() -> None:
    assert style_loss(FEATURES, gram(FEATURES)).item() == 0
    assert style_loss(FEATURES, torch.zeros(2, 2)).item() == pytest.approx((25 + 121 + 121 + 625) / 16)


def test_style_loss_does_not_see_where_things_are() -> None:
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

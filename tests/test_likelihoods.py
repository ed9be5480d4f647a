"""The likelihoods in training are distributions over integers, and equal compressai's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.losses.likelihoods import FactorizedDensity, GaussianDensity, at_least
from training.losses.rate import RateModel

CHANNELS = 5


def trained_density() -> FactorizedDensity:
    """A density with random weights."""
    torch.manual_seed(0)
    density = FactorizedDensity(CHANNELS, init_scale=4)
    with torch.no_grad():
        for weight in density.parameters():
            weight.add_(0.5 * torch.randn_like(weight))
    return density


def logits_of(density: FactorizedDensity, values: torch.Tensor) -> torch.Tensor:
    """values: [N], for every channel."""
    return density.logits(values.expand(CHANNELS, 1, -1))


def test_a_channels_cumulative_distribution_rises_from_nothing_to_everything() -> None:
    logits = logits_of(trained_density(), torch.linspace(-300, 300, 6001))
    assert (logits.diff() > 0).all()
    assert (logits[..., 0].sigmoid() < 1e-3).all()
    assert (logits[..., -1].sigmoid() > 1 - 1e-3).all()


def test_a_new_density_is_about_as_wide_as_it_was_asked_to_be() -> None:
    narrow, wide = (
        logits_of(FactorizedDensity(CHANNELS, scale), torch.tensor([-2.0, 2.0])).sigmoid().diff()
        for scale in (1.0, 20.0)
    )
    assert (narrow > 2 * wide).all()


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.01, 60), mean=st.floats(-0.5, 0.5))
def test_a_gaussians_likelihoods_add_up_to_one(scale: float, mean: float) -> None:
    residual = torch.arange(-400, 401) - mean
    total = GaussianDensity()(residual, torch.full_like(residual, scale)).sum()
    assert float(total) == pytest.approx(1, abs=1e-4)


def test_a_value_beyond_the_bound_still_learns_the_way_back() -> None:
    x = torch.tensor([0.5, 0.5, 2.0], requires_grad=True)
    (at_least(x, 1.0) * torch.tensor([-1.0, 1.0, 1.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [-1, 0, 1]


def test_likelihoods_and_gradients_are_compressais() -> None:
    theirs = pytest.importorskip("compressai.entropy_models", reason="compressai is missing")
    torch.manual_seed(1)
    bottleneck = theirs.EntropyBottleneck(CHANNELS, init_scale=4)
    torch.manual_seed(1)
    density = FactorizedDensity(CHANNELS, init_scale=4)
    for name, weight in density.named_parameters():
        torch.testing.assert_close(weight, bottleneck.get_parameter(name), rtol=0, atol=0)
    density.load_state_dict(bottleneck.state_dict())
    z = 6 * torch.randn(2, CHANNELS, 3, 4)
    torch.manual_seed(2)
    ours = density(z)
    torch.manual_seed(2)
    expected = bottleneck(z, training=True)[1]
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)
    ours.log().sum().backward()
    expected.log().sum().backward()
    for name, weight in density.named_parameters():
        torch.testing.assert_close(
            weight.grad, bottleneck.get_parameter(name).grad, rtol=1e-5, atol=1e-6
        )


def test_gaussian_likelihoods_and_gradients_are_compressais() -> None:
    theirs = pytest.importorskip("compressai.entropy_models", reason="compressai is missing")
    torch.manual_seed(0)
    gaussian = theirs.GaussianConditional(None)
    residual = (20 * torch.randn(4000)).requires_grad_()
    scale = (12 * torch.rand(4000) ** 3).requires_grad_()
    ours = GaussianDensity()(residual, scale)
    expected = gaussian.likelihood_lower_bound(gaussian._likelihood(residual, scale))
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)
    for ours_by, expected_by in zip(
        torch.autograd.grad(ours.log().sum(), (residual, scale)),
        torch.autograd.grad(expected.log().sum(), (residual, scale)),
    ):
        torch.testing.assert_close(ours_by, expected_by, rtol=1e-5, atol=1e-6)


def test_runs_that_were_started_with_compressai_resume() -> None:
    """The parameters have the same order, because an optimizer's state refers to it."""
    theirs = pytest.importorskip("compressai.entropy_models", reason="compressai is missing")

    class OldRateModel(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bottleneck = theirs.EntropyBottleneck(CHANNELS, init_scale=4)
            self.bottleneck.quantiles.requires_grad_(False)
            self.gaussian = theirs.GaussianConditional(None)

    old, model = OldRateModel(), RateModel(CHANNELS)
    model.load_state_dict(old.state_dict())
    trained = [(name, p) for name, p in old.named_parameters() if p.requires_grad]
    assert [name for name, _ in trained] == [name for name, _ in model.named_parameters()]
    for (_, before), after in zip(trained, model.parameters()):
        assert torch.equal(before, after)

"""Heads on cached features: standardised, dropped out, folded into one linear layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from landmark_ml.networks import heads, rejection
from landmark_ml.networks.create import create_model
from landmark_ml.networks.heads import ByteDropout, CosineClassifier, Head, head_kind
from tests.tiny_networks import small_config


def uneven_features(count: int = 64) -> Tensor:
    """Features of very different scale and offset, one of which never fires."""
    noise = torch.randn(count, 6, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor([0.1, 1.0, 10.0, 3.0, 0.5, 0.0])
    return noise * scale + torch.tensor([5.0, -2.0, 30.0, 0.0, 1.0, 0.0])


def trained_head(features: Tensor, drop_rate: float = 0.5) -> Head:
    head = Head(features, 4, drop_rate)
    assert isinstance(head.classifier, nn.Linear)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        nn.init.normal_(head.classifier.weight)
        nn.init.normal_(head.classifier.bias)
    return head


def test_the_folded_layer_gives_the_same_logits_on_raw_features() -> None:
    features = uneven_features()
    head = trained_head(features).eval()
    linear = nn.Linear(6, 4)
    head.fold_into(linear)
    assert torch.allclose(linear(features), head(features), atol=1e-4)


def test_a_folded_cosine_classifier_gives_the_same_logits_on_raw_features() -> None:
    features = uneven_features()
    head = Head(features, 4, 0.0, targets=torch.arange(64) % 4).eval()
    classifier = CosineClassifier(6, 4)
    head.fold_into(classifier)
    assert torch.allclose(classifier(features), head(features), atol=1e-3)


@pytest.mark.parametrize("centres", [1, 3])
def test_a_logit_is_the_scaled_cosine_to_the_nearest_centre(
    centres: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "_CENTRES", centres)
    classifier, features = CosineClassifier(6, 4), uneven_features(5)
    embedding = classifier.embed(features)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(5))
    cosines = functional.cosine_similarity(embedding[:, None, None], classifier.weight[None], dim=3)
    assert cosines.shape == (5, 4, centres)
    assert torch.allclose(classifier(features), 30 * cosines.amax(dim=2), atol=1e-4)


def test_the_margin_widens_the_angle_of_the_target_alone() -> None:
    classifier, targets = CosineClassifier(6, 3), torch.tensor([0, 2])
    angles = torch.tensor([[0.5, 1.0, 2.0], [0.1, 0.2, 1.5]])
    logits = 30 * angles.cos()
    harder = classifier.with_margin(logits, targets)
    widened = angles + heads._MARGIN * functional.one_hot(targets, 3)
    assert torch.allclose(harder, 30 * widened.cos(), atol=1e-3)
    probabilities = functional.one_hot(targets, 3) * 0.5 + 0.1
    assert torch.equal(classifier.with_margin(logits, probabilities), harder)
    # Also where the angle would pass half a turn.
    opposite = torch.full((1, 3), -29.9)
    assert classifier.with_margin(opposite, torch.tensor([1]))[0, 1] < -29.9


def test_a_cosine_head_starts_at_the_means_of_its_classes() -> None:
    """As good as the nearest mean before it has learned anything; the seed decides the rest."""
    chance = torch.Generator().manual_seed(0)
    targets = torch.arange(3000) % 300
    centres = torch.randn(300, 400, generator=chance)
    features = 5 + centres[targets] + torch.randn(3000, 400, generator=chance)
    starts = [
        Head(features, 300, 0.0, torch.Generator().manual_seed(seed), targets).logits(features)
        for seed in (0, 0, 1)
    ]
    assert float((starts[0].argmax(dim=1) == targets).float().mean()) > 0.99
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_of_many_landmarks_a_step_learns_those_of_its_photos_and_as_many_others_as_of_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heads, "_SAMPLED", 20)
    targets, features = torch.arange(64), uneven_features()
    head = Head(features, 64, 0.0, torch.Generator().manual_seed(0), targets)
    chosen = torch.tensor([63, 5, 5, 40])
    (first,), (second,) = head.sample(chosen), head.sample(chosen)
    for sampled in (first, second):
        assert len(set(sampled.tolist())) == 24
        assert torch.isin(chosen, sampled).all()
    assert not torch.equal(first, second)
    answered = head(features, first)
    assert torch.allclose(answered, head(features)[:, first], atol=1e-4)
    answered.sum().backward()
    assert isinstance(head.classifier.weight.grad, Tensor)
    moved = head.classifier.weight.grad.abs().sum(dim=(1, 2)) > 0
    assert torch.equal(moved.nonzero().flatten(), first)


def test_few_landmarks_linear_heads_and_probabilities_are_learned_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heads, "_SAMPLED", 20)
    features, targets = uneven_features(), torch.arange(64)
    assert not Head(features, 64, 0.0).sample(targets)
    assert not Head(features, 20, 0.0, targets=targets % 20).sample(targets % 20)
    assert not Head(features, 64, 0.0, targets=targets).sample(torch.eye(64))


@pytest.mark.parametrize(
    ("outputs", "changes", "kind"),
    [
        (999, {}, "linear"),
        (1000, {}, "cosine"),
        (1000, {"head": "linear"}, "linear"),
        (2, {"head": "cosine"}, "cosine"),
    ],
)
def test_many_landmarks_get_a_cosine_head(outputs: int, changes: Any, kind: str) -> None:
    config = small_config("test_resnet", **changes)
    assert head_kind(config, outputs) == kind
    assert isinstance(create_model(config, outputs).classifier, CosineClassifier) == (
        kind == "cosine"
    )


def test_features_are_standardised() -> None:
    features = uneven_features()
    head = Head(features, 2, 0.0)
    scaled = (features - head.mean) / head.scale
    assert torch.allclose(scaled.mean(dim=0), torch.zeros(6), atol=1e-4)
    assert torch.allclose(scaled.std(dim=0)[:5], torch.ones(5), atol=1e-3)


def test_features_that_do_not_fit_into_memory_are_standardised_in_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = uneven_features()
    monkeypatch.setattr(rejection, "_BLOCK", 7)
    head = Head(features, 2, 0.0)
    assert torch.allclose(head.mean, features.mean(dim=0), atol=1e-5)
    assert torch.allclose(head.scale[:5], features.std(dim=0)[:5], rtol=1e-4)


def test_a_constant_feature_does_no_harm() -> None:
    features = uneven_features()
    head = trained_head(features).eval()
    changed = features.clone()
    changed[:, 5] = 1e-3
    assert torch.allclose(head(changed), head(features), atol=0.01)


def test_a_new_head_prefers_no_class() -> None:
    features = uneven_features()
    assert torch.equal(Head(features, 4, 0.0)(features), torch.zeros(64, 4))


def test_dropout_acts_in_training_only() -> None:
    features = uneven_features()
    head = trained_head(features)
    assert not torch.equal(head.train()(features), head(features))
    assert torch.equal(head.eval()(features), head(features))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_as_much_is_dropped_as_asked_and_the_mean_stays(rate: float) -> None:
    torch.manual_seed(0)
    dropped = ByteDropout(rate).train()(torch.ones(301, 203))
    assert float((dropped == 0).float().mean()) == pytest.approx(rate, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)
    # Neither rows nor columns go together.
    assert float(dropped.mean(dim=0).std()) < 0.15 / (1 - rate)
    assert float(dropped.mean(dim=1).std()) < 0.15 / (1 - rate)


def test_the_seed_decides_what_is_dropped() -> None:
    layer, ones = ByteDropout(0.5).train(), torch.ones(40)
    torch.manual_seed(3)
    first, other = layer(ones), layer(ones)
    torch.manual_seed(3)
    assert torch.equal(layer(ones), first)
    assert not torch.equal(first, other)


def test_nothing_is_dropped_outside_training_or_at_a_rate_of_0() -> None:
    values = torch.arange(10.0)
    assert ByteDropout(0.5).eval()(values) is values
    assert ByteDropout(0.0).train()(values) is values


@pytest.mark.parametrize("rate", [0.998, 0.9981, 0.9999])
def test_the_highest_rates_keep_a_little(rate: float) -> None:
    torch.manual_seed(0)
    dropped = ByteDropout(rate).train()(torch.ones(301, 203))
    assert float((dropped == 0).float().mean()) == pytest.approx(255 / 256, abs=0.001)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.2)


def test_gradients_flow_through_what_is_kept() -> None:
    values = torch.ones(64, requires_grad=True)
    dropped = ByteDropout(0.5).train()(values)
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, dropped.detach())

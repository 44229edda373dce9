"""The head on cached features is the classifier it is folded into."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landmark_ml.networks.head import Head


def uneven_features(count: int = 64) -> Tensor:
    """Features of very different scale and offset, one of which never fires."""
    noise = torch.randn(count, 6, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor([0.1, 1.0, 10.0, 3.0, 0.5, 0.0])
    return noise * scale + torch.tensor([5.0, -2.0, 30.0, 0.0, 1.0, 0.0])


def trained_head(features: Tensor, drop_rate: float = 0.5) -> Head:
    head = Head(features, 4, drop_rate)
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


def test_features_are_standardised() -> None:
    features = uneven_features()
    head = Head(features, 2, 0.0)
    scaled = (features - head.mean) / head.scale
    assert torch.allclose(scaled.mean(dim=0), torch.zeros(6), atol=1e-4)
    assert torch.allclose(scaled.std(dim=0)[:5], torch.ones(5), atol=1e-3)


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

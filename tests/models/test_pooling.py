"""GeM pooling and the batch norm neck: their numbers, and networks that have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from foldpack.models.classifier import ModelError, build_classifier
from foldpack.models.embedder import build_embedder
from foldpack.models.pooling import BatchNormNeck, GeMPool
from foldpack.settings.network import NetConfig, StartFrom

FEATURES = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 5, 4, 6)).astype(np.float32))
RESNET = NetConfig(arch="resnet10t", size=96)


@pytest.mark.parametrize("p", [1.0, 3.0, 6.5])
def test_a_generalised_mean(p: float) -> None:
    pool = GeMPool()
    assert pool.p.tolist() == [3.0]
    pool.p.data.fill_(p)
    positive = np.maximum(FEATURES.double().numpy(), 1e-6)
    expected = (positive**p).mean(axis=(2, 3), keepdims=True) ** (1 / p)
    np.testing.assert_allclose(pool(FEATURES).detach().numpy(), expected, rtol=1e-4)
    pool(FEATURES).sum().backward()
    assert pool.p.grad is not None and torch.isfinite(pool.p.grad).all() and pool.p.grad.abs() > 0


def test_half_precision_is_pooled_in_full_and_stays_half() -> None:
    pooled = GeMPool()(FEATURES.bfloat16())
    assert pooled.dtype == torch.bfloat16
    np.testing.assert_allclose(pooled.float().detach(), GeMPool()(FEATURES).detach(), rtol=0.02)


def test_a_network_with_gem_differs_by_its_pooling_alone() -> None:
    torch.manual_seed(0)
    plain = build_classifier(RESNET, 4).eval()
    gem = build_classifier(RESNET.model_copy(update={"pool": "gem"}), 4).eval()
    assert gem.state_dict().keys() - plain.state_dict().keys() == {"global_pool.pool.p"}
    gem.load_state_dict(plain.state_dict(), strict=False)
    images = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        assert (gem(images) - plain(images)).abs().max() > 1e-4
        gem.get_submodule("global_pool.pool").p.fill_(1.0)  # then it is the mean; features of a resnet are not below 0
        torch.testing.assert_close(gem(images), plain(images), rtol=1e-3, atol=1e-4)


def test_a_network_without_one_mean_has_no_gem() -> None:
    net = NetConfig(arch="test_vit", size=16, kwargs={"img_size": 16}, pool="gem")
    with pytest.raises(ModelError, match="net.pool 'gem' needs a network of timm's that takes the mean over its last "
                                         "feature map, and this one has 0 such means; leave net.pool out"):
        build_classifier(net, 4)


def test_the_neck_is_a_batch_norm_without_a_shift() -> None:
    torch.manual_seed(0)
    plain, necked = (build_embedder(RESNET.model_copy(update={"neck": neck}), 8) for neck in (None, "bn"))
    necked.load_state_dict(plain.state_dict(), strict=False)
    assert isinstance(necked[1], BatchNormNeck) and necked.state_dict().keys() - plain.state_dict().keys() == {
        f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
    assert [name for name, one in necked.named_parameters() if not one.requires_grad] == ["1.bias"]
    images = torch.rand(6, 3, 96, 96)
    with torch.no_grad():
        raw = plain.train()[0](images).double().numpy()
        normed = (raw - raw.mean(axis=0)) / np.sqrt(raw.var(axis=0) + 1e-5)
        expected = normed / np.linalg.norm(normed, axis=1, keepdims=True)
        np.testing.assert_allclose(necked.train()(images), expected, atol=1e-3)
        assert isinstance(necked[-1], nn.Module)
        np.testing.assert_allclose(necked.eval()(images).norm(dim=1), 1, atol=1e-6)


def test_networks_of_before_are_told_as_before() -> None:
    told = RESNET.model_dump(mode="json")
    assert not {"pool", "neck", "cosine"} & told.keys() and told["pretrained"] == StartFrom().model_dump()
    assert RESNET.model_copy(update={"pool": "gem", "neck": "bn"}).model_dump()["neck"] == "bn"

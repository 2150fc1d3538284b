"""The layer of binned values: shares of two centres, their mean, and what it gives in training and after."""

import numpy as np
import pytest
import torch

from foldpack.models.regressor import BinnedValues

TARGETS = np.array([[1.0, 10.0], [100.0, 10.0], [37.25, 10.0]])


def test_shares_are_of_the_two_nearest_centres_and_mean_the_value():
    layer = BinnedValues(2, 12).measure(TARGETS)
    values = torch.tensor([[1.0, 10.0], [100.0, 10.5], [37.25, 11.0], [63.9, 10.9]])
    shares = layer.soft(values)
    assert shares.shape == (4, 2, 12) and (shares >= 0).all() and ((shares > 1e-6).sum(-1) <= 2).all()
    torch.testing.assert_close(shares.sum(-1), torch.ones(4, 2))
    torch.testing.assert_close((shares * layer.centres).sum(-1), values)  # a constant target has bins 1 wide in all


def test_a_value_beyond_the_ends_is_the_end():
    layer = BinnedValues(1, 5).measure(TARGETS[:, :1], [0, 8])
    assert layer.centres.tolist() == [[0, 2, 4, 6, 8]]
    assert layer.soft(torch.tensor([[-3.0], [50.0]]))[:, 0].tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_in_training_and_values_after(dtype):
    layer = BinnedValues(2, 3).measure(TARGETS, [0, 10])
    logits = torch.tensor([[0.0, 0, 0, 50, 0, 0], [0, 0, 50, 0, 50, 0]], dtype=dtype)
    assert layer.train()(logits).dtype == torch.float32 and layer(logits).shape == (2, 6)
    torch.testing.assert_close(layer.eval()(logits), torch.tensor([[5.0, 0.0], [10.0, 5.0]]))

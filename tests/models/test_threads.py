"""The number of threads is set for a block and put back."""

from __future__ import annotations

import pytest
import torch

from tdn_data.models.threads import torch_threads


def test_number_holds_inside_and_is_put_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError), torch_threads(before + 2):
        assert torch.get_num_threads() == before + 2
        raise KeyError
    assert torch.get_num_threads() == before


def test_none_leaves_the_number() -> None:
    before = torch.get_num_threads()
    with torch_threads(None):
        assert torch.get_num_threads() == before

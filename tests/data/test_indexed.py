import torch
from torch.utils.data import TensorDataset, default_collate

from limbeck.data import Indexed


def test_samples_end_with_their_index():
    dataset = Indexed(TensorDataset(torch.arange(3), torch.zeros(3)))
    assert len(dataset) == 3
    assert [sample[2] for sample in (dataset[0], dataset[2])] == [0, 2]
    assert default_collate([dataset[0], dataset[1]])[2].tolist() == [0, 1]


def test_dictionaries_get_a_key_and_names_replace_numbers():
    dataset = Indexed([{"x": 1, "y": 0}], ids=["a.png"])
    assert dataset[0] == {"x": 1, "y": 0, "index": "a.png"}

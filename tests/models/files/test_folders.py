"""Folders of checkpoints: the only file of weights in one, and what other folders hold."""

import pytest
import torch
from safetensors.torch import save_file
from support.saved_models import Own

from limbeck._base.errors import TeacherError
from limbeck.models import load_model


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["best.pt", "last.pt"],
            r"has no model\.safetensors but best\.pt, last\.pt\. Choose",
        ),
        (["a.pt", "b.pt", "c.pt", "d.pt"], r"but a\.pt, b\.pt, c\.pt and 1 more\. Choose"),
        (["bundle.json", "model.onnx"], "is a bundle, which holds ONNX models"),
        ([".metadata", "__0_0.distcp"], "is a distributed checkpoint"),
        (["adapter_config.json", "adapter_model.safetensors"], "contains an adapter .*merge_and"),
        (["zero_to_fp32.py", "latest"], "checkpoint of DeepSpeed.*python -m deepspeed"),
        (["0_mp_rank_00_model_states.pt", "1_mp_rank_00_model_states.pt"], "of DeepSpeed"),
        (["saved_model.pb", "variables"], "is a SavedModel of TensorFlow"),
        (["config.json", "tf_model.h5"], "for TensorFlow or Flax only.*from_tf=True"),
        (["config.json", "flax_model.msgpack"], "for TensorFlow or Flax only"),
        (["Manifest.json", "Data"], "is a Core ML package"),
        (["optimizer.pt", "scheduler.pt"], "has no model"),
        ([], "and neither has"),
    ],
)
def test_a_folder_without_weights_is_explained(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(TeacherError, match=message):
        load_model(tmp_path, Own)


@pytest.mark.parametrize(
    "name", ["epoch=3-step=100.ckpt", "pytorch_model.bin", "best.pth.tar", "weights.safetensors"]
)
def test_the_only_checkpoint_of_a_folder_is_read(tmp_path, name):
    model = Own().eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if name.endswith("safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save({"state_dict": state}, tmp_path / name)
    for other in ("optimizer.pt", "training_args.bin", "log.txt"):
        (tmp_path / other).touch()
    x = torch.rand(2, 5)
    assert torch.equal(load_model(tmp_path, Own).model(x), model(x))

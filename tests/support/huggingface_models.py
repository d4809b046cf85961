"""Tiny language models of transformers, built from settings."""

import json

import torch

from limbeck.models import HuggingFace

LENGTH, CLASSES = 8, 30
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2}
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
KINDS = {
    "gpt2": GPT2,
    "llama": SMALL | {"model_type": "llama", "num_key_value_heads": 1},
    "gemma2": SMALL
    | {"model_type": "gemma2", "num_key_value_heads": 1, "head_dim": 8},  # caps its logits
    "cohere": SMALL | {"model_type": "cohere"},  # scales them
    "phi": SMALL | {"model_type": "phi"},  # its last layer has a bias and weights of its own
    "mixtral": SMALL
    | {
        "model_type": "mixtral",
        "num_key_value_heads": 2,
        "num_local_experts": 3,
    },  # renames weights
    "bloom": {
        "model_type": "bloom",
        "hidden_size": 16,
        "n_layer": 2,
        "n_head": 2,
    },  # has no positions
}
PLAIN = ("gpt2", "llama", "phi", "mixtral", "bloom")


def new_model(kind="gpt2", seed=0, *, length=LENGTH, classes=CLASSES, **changes):
    torch.manual_seed(seed)
    model = HuggingFace((length,), classes, config=KINDS[kind] | changes)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


def ids_of(classes=CLASSES, length=LENGTH):
    return torch.randint(classes, (3, length), generator=torch.Generator().manual_seed(5))


def theirs(folder, ids):
    """The logits that transformers alone gives."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(ids).logits


def rewrite(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))

"""Causal language models of transformers, from a folder, from the hub, or new."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, LimbeckError
from limbeck.models.eval_mode import eval_mode
from limbeck.models.gpt import check_length, check_tokens
from limbeck.models.huggingface.base import TransformersModel, check_source
from limbeck.models.huggingface.config import check_sizes, make_config, settings_of
from limbeck.models.huggingface.hub import (
    CONFIG,
    find_folder,
    one_line,
    quiet,
    read_json,
    require_transformers,
)
from limbeck.models.huggingface.pretrained import create, pretrained
from limbeck.models.protocols import LastLayer

EXAMPLE = "model_type: gpt2, n_embd: 64, n_layer: 2, n_head: 2"
PROBE_LENGTH = 8
"""Number of tokens in the block with which a model is tested."""


class HuggingFace(TransformersModel):
    """A causal language model of transformers (extra ``hf``), in float32.

    Args:
        shape: Shape of one input, ``(T,)``: the length of a block in tokens.
        classes: Size V of the data's vocabulary. A model with a larger (padded) vocabulary is cut
            to the first V entries.
        path: Folder written by ``save_pretrained``, or name of a model on the hub, from whose
            weights training starts. No code is loaded.
        config: Settings of a model with random weights if ``path`` is None: ``model_type`` and the
            settings of that type, such as ``{"model_type": "gpt2", "n_embd": 64, "n_layer": 2,
            "n_head": 2}``. Missing sizes of vocabulary and block are taken from the data.

    Raises:
        ConfigError: If transformers is missing, the architecture is unknown or not causal, the
            vocabulary is smaller than the data's, or the block is longer than the model's
            positions.
        ResourceError: If the hub cannot be reached.
        UntrustedFileError: If a file is damaged, or its weights can only be read by running code.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        path: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        require_transformers()
        check_tokens("HuggingFace", shape, classes)
        check_source("HuggingFace", path, config, EXAMPLE)
        self.classes = classes
        folder = None if path is None else find_folder(path)
        if folder is None:
            settings = dict(config or {})
            where = f"config={settings}"
            sizes = {"vocab_size": classes, "max_position_embeddings": shape[0]}
            net_config = make_config(settings, where, sizes)
        else:
            where = str(folder / CONFIG)
            net_config = make_config(read_json(folder / CONFIG), where)
        self.positions = check_sizes(net_config, where, shape[0], classes)
        self.arguments: dict[str, Any] = {
            "shape": list(shape),
            "classes": classes,
            "config": settings_of(net_config),
        }
        self._is_linear = False
        self._find_tokenizer(folder)
        self._set_net(
            create(net_config, where) if folder is None else pretrained(net_config, folder)
        )
        self.train()

    def _test(self) -> None:
        self._is_linear = self._probe()

    @property
    def padded(self) -> int:
        """Number of vocabulary entries beyond those of the data, which are cut off."""
        return self.net.config.get_text_config().vocab_size - self.classes

    def last_layer(self) -> LastLayer | None:
        """Return the last layer: logits are ``hidden(ids) @ weight.T + bias``.

        The result is None for models that scale or cap their logits.
        """
        return self._output_layer() if self._is_linear else None

    def forward(self, ids: Tensor) -> Tensor:
        """Compute logits ``[B, t, V]`` of token ids ``[B, t]``, ``t <= T``.

        The logits at position i predict token i + 1.

        Raises:
            ConfigError: If the block is longer than the model's positions.
        """
        if self.positions is not None:
            check_length(ids, self.positions)
        logits = self.net(input_ids=ids.long(), use_cache=False, return_dict=True).logits
        return logits[..., : self.classes]

    def hidden(self, ids: Tensor) -> Tensor:
        """Compute the features ``[B, t, D]`` before the last layer, of token ids ``[B, t]``."""
        outputs = self.net.base_model(input_ids=ids.long(), use_cache=False, return_dict=True)
        return outputs.last_hidden_state

    def _output_layer(self) -> LastLayer:
        """Return the output layer of the network, cut to the data's vocabulary."""
        layer: Any = self.net.get_output_embeddings()
        bias = getattr(layer, "bias", None)
        if bias is not None:
            bias = bias[: self.classes]
        return LastLayer(layer.weight[: self.classes], bias)

    @torch.no_grad()
    def _probe(self) -> bool:
        """Test with one block whether logits are features times the last layer's weights.

        Raises:
            ConfigError: If the model cannot read the block, or is not causal.
        """
        device = next(self.net.parameters()).device
        length = min(PROBE_LENGTH, self.arguments["shape"][0])
        ids = torch.arange(length, device=device)[None] % self.classes
        other = torch.cat((ids[:, :-1], (ids[:, -1:] + 1) % self.classes), 1)
        try:
            with eval_mode(self.net):
                with quiet():
                    logits, others = self(ids), self(other)
                if not torch.allclose(
                    logits[:, :-1], others[:, :-1], rtol=1e-4, atol=1e-6, equal_nan=True
                ):
                    raise ConfigError(
                        f"{self.name} sees the tokens that it should predict: it is not a causal "
                        "language model. For some architectures, set config: {is_decoder: true}; "
                        "otherwise choose another model."
                    )
                return self._logits_are_linear(ids, logits)
        except LimbeckError:
            raise
        except Exception as error:  # models of transformers may raise anything
            raise ConfigError(
                f"{self.name} cannot read token ids {list(ids.shape)} ({one_line(error)})."
            ) from None

    def _logits_are_linear(self, ids: Tensor, logits: Tensor) -> bool:
        """Whether the logits are exactly the outputs of the last layer on the features.

        A hook replaces the outputs of the layer by large values, which reveals a cap on logits.
        """
        layer, inputs = self.net.get_output_embeddings(), []
        if layer is None or self.net.base_model is self.net:
            return False
        size = logits.shape[-1] + self.padded
        large = torch.linspace(-1e3, 1e3, size, device=logits.device).expand(*ids.shape, -1)

        def replace(_: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
            inputs.append(arguments[0])
            return large

        hook = layer.register_forward_hook(replace)
        try:
            outputs = self(ids)
        finally:
            hook.remove()
        if len(inputs) != 1 or not torch.equal(outputs, large[..., : self.classes]):
            return False
        if not _is_close(inputs[0], self.hidden(ids)):
            return False
        return _is_close(F.linear(inputs[0], *self._output_layer()), logits)

    def extra_facts(self) -> dict[str, Any]:
        """Return the number of vocabulary entries that are cut off."""
        return {"padded": self.padded}


def _is_close(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-4, atol=1e-5, equal_nan=True)

"""Causal language models of Hugging Face's transformers: from a folder, from the hub, or new ones
from settings.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, LimbeckError, UntrustedFileError
from limbeck.models.gpt import check_length, check_tokens
from limbeck.models.huggingface.config import check_sizes, kept, made_config
from limbeck.models.huggingface.hub import (
    CONFIG,
    find_folder,
    one_line,
    quiet,
    read_json,
    read_vocabulary,
    require_transformers,
)

PROBED = 8
"""Tokens of the block that a model is tried on."""


class HuggingFace(nn.Module):
    """A causal language model of transformers (extra ``hf``), in float32.

    Args:
        shape: of one input: ``(T,)``, the length of a block in tokens.
        classes: V, the entries of the data's vocabulary. A model with more (a padded vocabulary) is
            cut to the first V.
        path: a folder that ``save_pretrained`` made, or the name of a model on the hub: begin with
            these weights, in safetensors. No code comes with them.
        config: where ``path`` is None, ``model_type`` and its settings, as ``{"model_type": "gpt2",
            "n_embd": 64, "n_layer": 2, "n_head": 2}``: begin with random weights. The sizes of
            vocabulary and block are the data's where they are missing.

    Raises:
        ConfigError: transformers is missing, the architecture is unknown or not causal, the
            vocabulary is smaller than the data's, or the block is longer than the model's
            positions.
        ResourceError: the hub cannot be reached.
        UntrustedFileError: a file is damaged, or the weights are pickled.
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
        if path is None and config is None:
            raise ConfigError(
                "HuggingFace needs the folder or name of a model (path), or settings for a new one "
                "(config: "
                "{model_type: gpt2, n_embd: 64, n_layer: 2, n_head: 2})."
            )
        if config is not None and not isinstance(config, Mapping):
            raise ConfigError(
                f"config={config!r} should be settings, as in {{model_type: gpt2, n_embd: 64}}."
            )
        self.classes = classes
        folder = None if path is None else find_folder(path)
        where = f"config={dict(config or {})}" if folder is None else str(folder / CONFIG)
        settings = dict(config or {}) if folder is None else read_json(folder / CONFIG)
        made = made_config(settings, where, shape, classes if folder is None else None)
        self._tokenizer = (
            folder / "tokenizer.json" if folder and (folder / "tokenizer.json").is_file() else None
        )
        self.positions = check_sizes(made, where, shape[0], classes)
        self.arguments: dict[str, Any] = {
            "shape": list(shape),
            "classes": classes,
            "config": kept(made.to_dict()),
        }
        self._take(_new(made, where) if folder is None else _pretrained(made, folder))
        self.train()

    def _take(self, net: Any) -> None:
        """Take a network of transformers, and find out how it answers unless it has no weights yet."""
        self.net = net
        self._plain_output = (
            not any(weight.is_meta for weight in net.parameters()) and self._probe()
        )

    @property
    def name(self) -> str:
        """Architecture, layers and width, as in ``gpt2-12x768``."""
        config = self.net.config.get_text_config()
        layers, width = (
            getattr(config, "num_hidden_layers", None),
            getattr(config, "hidden_size", None),
        )
        return (
            config.model_type
            if layers is None or width is None
            else f"{config.model_type}-{layers}x{width}"
        )

    @property
    def padded(self) -> int:
        """Entries of the model's vocabulary beyond the data's, which are cut off."""
        return self.net.config.get_text_config().vocab_size - self.classes

    @property
    def vocabulary(self) -> list[str] | None:
        """Strings of the tokens by id, from the ``tokenizer.json`` beside the weights; None where
        there is none.

        Raises:
            UntrustedFileError: the file is damaged.
        """
        return None if self._tokenizer is None else read_vocabulary(self._tokenizer)

    @property
    def output(self) -> tuple[Tensor, Tensor | None] | None:
        """Weight ``[V, D]`` and bias ``[V]`` of the last layer: logits are ``hidden(ids) @ weight.T
        + bias``.

        None for models whose logits are something else, such as scaled or capped.
        """
        return self._last_layer() if self._plain_output else None

    def forward(self, ids: Tensor) -> Tensor:
        """Logits ``[B, t, V]`` of token ids ``[B, t]``, ``t <= T``; those at i predict token i + 1.

        Raises:
            ConfigError: the block is longer than the model's positions.
        """
        if self.positions is not None:
            check_length(ids, self.positions)
        logits = self.net(input_ids=ids.long(), use_cache=False, return_dict=True).logits
        return logits[..., : self.classes]

    def hidden(self, ids: Tensor) -> Tensor:
        """Features ``[B, t, D]`` before the last layer, of token ids ``[B, t]``; of use where there
        is an output.
        """
        return self.net.base_model(
            input_ids=ids.long(), use_cache=False, return_dict=True
        ).last_hidden_state

    def _last_layer(self) -> tuple[Tensor, Tensor | None]:
        last: Any = self.net.get_output_embeddings()
        bias = getattr(last, "bias", None)
        return last.weight[: self.classes], None if bias is None else bias[: self.classes]

    @torch.no_grad()
    def _probe(self) -> bool:
        """Whether logits are features times the last layer's weights, by one block.

        Raises:
            ConfigError: the model cannot read it, or sees the tokens that it should predict.
        """
        training = [(part, part.training) for part in self.net.modules()]
        device = next(self.net.parameters()).device
        ids = (
            torch.arange(min(PROBED, self.arguments["shape"][0]), device=device)[None]
            % self.classes
        )
        other = torch.cat((ids[:, :-1], (ids[:, -1:] + 1) % self.classes), 1)
        self.net.eval()
        try:
            with quiet():
                logits, others = self(ids), self(other)
            if not torch.allclose(
                logits[:, :-1], others[:, :-1], rtol=1e-4, atol=1e-6, equal_nan=True
            ):
                raise ConfigError(
                    f"{self.name} sees the tokens that it should predict: it is no causal language "
                    "model. Some are "
                    "made one by their settings (config: {is_decoder: true}); take another "
                    "otherwise."
                )
            return self._is_plain(ids, logits)
        except LimbeckError:
            raise
        except Exception as error:  # whatever a model of transformers raises
            raise ConfigError(
                f"{self.name} cannot read token ids {list(ids.shape)} ({one_line(error)})."
            ) from None
        finally:
            for part, mode in training:
                part.training = mode

    def _is_plain(self, ids: Tensor, logits: Tensor) -> bool:
        """Whether the last layer reads the features, and what it gives are the logits, however
        large.
        """
        last, read = self.net.get_output_embeddings(), []
        large = torch.linspace(
            -1e3, 1e3, logits.shape[-1] + self.padded, device=logits.device
        ).expand(*ids.shape, -1)

        def exchange(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            read.append(inputs[0])
            return large

        if last is None or self.net.base_model is self.net:
            return False
        hook = last.register_forward_hook(exchange)
        try:
            answers = self(ids)
        finally:
            hook.remove()
        same = torch.equal(answers, large[..., : self.classes]) and len(read) == 1
        if not same or not torch.allclose(
            read[0], self.hidden(ids), rtol=1e-4, atol=1e-5, equal_nan=True
        ):
            return False
        weight, bias = self._last_layer()
        return torch.allclose(
            F.linear(read[0], weight, bias), logits, rtol=1e-4, atol=1e-5, equal_nan=True
        )

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take weights under the names that transformers gives them in files, in place of those
        there are.

        Raises:
            RuntimeError: names or shapes are not those of the model; a line each.
        """
        require_transformers()
        with quiet():
            net, found = type(self.net).from_pretrained(
                None,
                config=self.net.config,
                state_dict=dict(weights),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        problems = [
            *_misfits(found),
            *(f"{name} is not of this model" for name in sorted(found["unexpected_keys"])),
        ]
        if problems:
            raise RuntimeError("\n".join(["The weights do not fit:", *problems]))
        self._take(net.train(self.training))

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json`` as ``save_pretrained`` does, each
        atomically.
        """
        with quiet(), tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
            self.net.save_pretrained(temporary, max_shard_size="1000TB")
            for name in ("model.safetensors", CONFIG):
                os.replace(Path(temporary) / name, folder / name)


def _new(config: Any, where: str) -> nn.Module:
    from transformers import AutoModelForCausalLM

    try:
        with quiet():
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # whatever a model of transformers raises
        raise ConfigError(
            f"{where}: transformers cannot build the model ({one_line(error)})."
        ) from None


def _pretrained(config: Any, folder: Path) -> nn.Module:
    """The model in a folder.

    Raises:
        ConfigError: its weights are not those of its settings.
        UntrustedFileError: they cannot be read.
    """
    from transformers import AutoModelForCausalLM

    kind: Any = AutoModelForCausalLM
    try:
        with quiet():
            net, found = kind.from_pretrained(
                folder,
                config=config,
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # whatever transformers and safetensors raise of a file
        raise UntrustedFileError(
            f"{folder}: its weights are damaged or cannot be read ({one_line(error)})."
        ) from None
    problems = list(_misfits(found))
    if problems:
        raise ConfigError(
            f"{folder}: the weights are not those of {CONFIG}: {'; '.join(problems[:3])}."
        )
    return net


def _misfits(found: Mapping[str, Any]) -> Iterator[str]:
    """What transformers reports of loaded weights, a line each."""
    for name in sorted(found["missing_keys"]):
        yield f"{name} is missing"
    for name, theirs, wanted in sorted(found["mismatched_keys"]):
        yield f"{name} has the shape {list(theirs)}, not {list(wanted)}"
    yield from (str(message) for message in found["error_msgs"])

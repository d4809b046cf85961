"""Classifiers of texts of transformers: an encoder such as BERT, with a classification head."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, LimbeckError
from limbeck.models.gpt import check_tokens
from limbeck.models.huggingface.base import TransformersModel, check_source
from limbeck.models.huggingface.config import (
    architecture_settings,
    class_names_of,
    make_config,
)
from limbeck.models.huggingface.hub import (
    CONFIG,
    find_folder,
    one_line,
    quiet,
    read_json,
    require_transformers,
)
from limbeck.models.huggingface.pretrained import TEXT_CLASSIFICATION, create, pretrained

NAME = "HuggingFaceClassifier"
EXAMPLE = "model_type: bert, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2"
PROBE_LENGTH, PROBE_PADDING = 6, 2
"""Numbers of tokens and of paddings in the text with which a model is tested."""


class HuggingFaceClassifier(TransformersModel):
    """A classifier of texts of transformers (extra ``hf``), in float32.

    Args:
        shape: Shape of one input, ``(L,)``: the token ids of a text, padded at its end.
        classes: Number of classes.
        vocabulary: Number of token ids of the data, with that of the padding.
        padding: Token id of the padding.
        path: Folder written by ``save_pretrained``, or name of a model on the hub, from whose
            weights training starts. A classification head that is missing, or of another number of
            classes, gets random weights. No code is loaded.
        config: Settings of a model with random weights if ``path`` is None: ``model_type`` and the
            settings of that type, such as ``{"model_type": "bert", "hidden_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2}``. Missing sizes of vocabulary and
            texts are taken from the data.
        needs_head: Whether the folder has to hold the classification head, too.

    Raises:
        ConfigError: If transformers is missing, the architecture is unknown or classifies no texts,
            the vocabulary is smaller than the data's, the texts are longer than the model's
            positions, or padding changes the model's answers.
        ResourceError: If the hub cannot be reached.
        UntrustedFileError: If a file is damaged, or its weights can only be read by running code.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        vocabulary: int,
        padding: int,
        path: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
        needs_head: bool = False,
    ):
        super().__init__()
        require_transformers()
        check_tokens(NAME, shape, classes)
        check_source(NAME, path, config, EXAMPLE)
        self.classes, self.padding = classes, padding
        folder = None if path is None else find_folder(path)
        if folder is None:
            settings = dict(config or {})
            where = f"config={settings}"
            sizes = {
                "vocab_size": vocabulary,
                "max_position_embeddings": shape[0],
                "pad_token_id": padding,
            }
            net_config = make_config(settings, where, sizes, kind=TEXT_CLASSIFICATION)
        else:
            where = str(folder / CONFIG)
            net_config = make_config(read_json(folder / CONFIG), where, kind=TEXT_CLASSIFICATION)
        # a padding beyond the other ids is replaced by that of the model
        ids = vocabulary - 1 if padding == vocabulary - 1 else vocabulary
        _check_vocabulary(net_config, where, ids)
        self.model_padding = _padding_of(net_config, where, padding)
        net_config.pad_token_id = self.model_padding
        if folder is not None and not needs_head:
            net_config.id2label = None  # names of other classes
        if net_config.num_labels != classes:
            net_config.num_labels = classes
        self.arguments = {
            "shape": list(shape),
            "classes": classes,
            "vocabulary": vocabulary,
            "padding": padding,
            "config": architecture_settings(net_config.to_dict()),
        }
        self._find_tokenizer(folder)
        if folder is None:
            net = create(net_config, where, TEXT_CLASSIFICATION)
        else:
            net = pretrained(net_config, folder, TEXT_CLASSIFICATION, new_head=not needs_head)
        _check_length(net, where, shape[0])
        self._set_net(net)
        self.train()

    def forward(self, ids: Tensor) -> Tensor:
        """Compute logits ``[B, C]`` of token ids ``[B, l]``, ``l <= L``, padded at their end."""
        is_token = ids != self.padding
        tokens = torch.where(is_token, ids, self.model_padding).long()
        # attention to nothing would not be finite
        is_first = torch.arange(ids.shape[-1], device=ids.device) == 0
        mask = (is_token | is_first).long()
        return self.net(input_ids=tokens, attention_mask=mask, return_dict=True).logits

    @torch.no_grad()
    def _test(self) -> None:
        """Test with a short text that the model classifies it, and that padding changes nothing."""
        training = [(part, part.training) for part in self.net.modules()]
        device = next(self.net.parameters()).device
        length = min(PROBE_LENGTH, self.arguments["shape"][0])
        choices = [i for i in range(self.arguments["vocabulary"]) if i != self.padding][-length:]
        text = torch.tensor([choices], device=device)
        room = max(0, min(PROBE_PADDING, self.arguments["shape"][0] - text.shape[1]))
        padded = nn.functional.pad(text, (0, room), value=self.padding)
        self.net.eval()
        try:
            with quiet():
                logits, others = self(text), self(padded)
        except LimbeckError:
            raise
        except Exception as error:  # models of transformers may raise anything
            raise ConfigError(
                f"{self.name} cannot classify token ids {list(text.shape)} ({one_line(error)}). "
                "Choose an encoder, such as bert or distilbert."
            ) from None
        finally:
            for part, mode in training:
                part.training = mode
        if logits.shape != (1, self.classes):
            raise ConfigError(
                f"{self.name} outputs {list(logits.shape)} for one text; expected logits [1, "
                f"{self.classes}]."
            )
        if not torch.allclose(logits, others, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise ConfigError(
                f"{self.name}: the padding at the end of a text changes its answers. Choose "
                "another model, such as bert or distilbert."
            )


def load_text_classifier(
    place: str | Path, shape: Sequence[int], vocabulary: int, padding: int
) -> tuple[HuggingFaceClassifier, list[str] | None]:
    """Load a classifier of texts with its head, as ``AutoModelForSequenceClassification`` does.

    Args:
        place: Folder written by ``save_pretrained``, or name of a model on the hub.
        shape: Shape of one input, ``(L,)``.
        vocabulary: Number of token ids of the data, with that of the padding.
        padding: Token id of the padding.

    Returns:
        The model in eval mode, and the names of its classes; None if they are only numbered.

    Raises:
        ConfigError: If transformers is missing, there is no such model, or it classifies no texts.
        ResourceError: If the hub cannot be reached.
        UntrustedFileError: If a file is damaged.
    """
    require_transformers()
    folder = find_folder(place)
    settings = read_json(folder / CONFIG)
    config = make_config(settings, str(folder / CONFIG), kind=TEXT_CLASSIFICATION)
    model = HuggingFaceClassifier(
        shape,
        config.num_labels,
        vocabulary=vocabulary,
        padding=padding,
        path=folder,
        needs_head=True,
    )
    return model.eval(), class_names_of(settings)


def _check_vocabulary(config: Any, where: str, ids: int) -> None:
    size = config.get_text_config().vocab_size
    if size < ids:
        raise ConfigError(
            f"{where}: the model's vocabulary has {size:,} entries but the data's has {ids:,}. "
            "Read the data with the model's own tokenizer (data.tokenizer=FOLDER), or choose "
            "another model."
        )


def _check_length(net: nn.Module, where: str, length: int) -> None:
    """Check that texts are not longer than the positions of a model."""
    config: Any = net.config
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(positions, int):
        return
    for layer in net.modules():
        # RoBERTa counts positions from the one after its padding
        if not isinstance(layer, nn.Embedding) or layer.padding_idx is None:
            continue
        if layer.num_embeddings == positions:
            positions -= layer.padding_idx + 1
            break
    if positions < length:
        raise ConfigError(
            f"{where}: texts of {length} tokens are longer than the model's {positions} positions. "
            f"Set data.length={positions} or less, or choose another model."
        )


def _padding_of(config: Any, where: str, padding: int) -> int:
    """Return the token id by which a model pads texts."""
    text = config.get_text_config()
    for token in (text.pad_token_id, padding, text.eos_token_id):
        if isinstance(token, int) and 0 <= token < text.vocab_size:
            return token
    raise ConfigError(
        f"{where}: the model has no token to pad texts with. Set config: {{pad_token_id: 0}}, or "
        "choose another model."
    )

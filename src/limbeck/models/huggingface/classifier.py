"""Classifiers of texts of transformers: an encoder such as BERT, with a classification head."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, LimbeckError
from limbeck.models.blocks import check_init
from limbeck.models.eval_mode import eval_mode
from limbeck.models.huggingface.base import check_source
from limbeck.models.huggingface.config import (
    class_names_of,
    make_config,
    settings_of,
)
from limbeck.models.huggingface.hub import (
    CONFIG,
    find_folder,
    one_line,
    quiet,
    read_json,
    require_transformers,
)
from limbeck.models.huggingface.layers import net_of_teacher, with_layers
from limbeck.models.huggingface.pretrained import TEXT_CLASSIFICATION, create, pretrained
from limbeck.models.huggingface.text_transformer import TextTransformer
from limbeck.models.huggingface.texts import Texts, check_length
from limbeck.models.text_inputs import check_texts

NAME = "HuggingFaceClassifier"
EXAMPLE = "model_type: bert, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2"
PROBE_LENGTH, PROBE_PADDING = 6, 2
"""Numbers of tokens and of paddings in the text with which a model is tested."""


class HuggingFaceClassifier(TextTransformer):
    """A classifier of texts of transformers (extra ``hf``), in float32.

    Args:
        shape: Shape of one input, ``(L,)``: the token ids of a text, padded at its end.
        classes: Number of classes.
        vocabulary: Number of token ids of the data, with that of the padding.
        padding: Token id of the padding.
        separator: Token id after which the second text of a pair begins, for models with types of
            tokens, such as BERT; None for single texts and other tokenizers.
        path: Folder written by ``save_pretrained``, or name of a model on the hub, from whose
            weights training starts. A classification head that is missing, or of another number of
            classes, gets random weights. No code is loaded.
        config: Settings of a model with random weights if ``path`` is None: ``model_type`` and the
            settings of that type, such as ``{"model_type": "bert", "hidden_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2}``. Missing sizes of vocabulary and
            texts are taken from the data.
        init: ``teacher`` to start from layers of the ``teacher``, not from ``path`` or ``config``.
        layers: Number of layers to take from the teacher or folder, which are spread evenly from
            the first to the last, as in DistilBERT; or a list of their numbers; None for all of a
            folder and half of a teacher.
        teacher: Teacher of the same kind.

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
        vocabulary: int = 0,
        padding: int = 0,
        separator: int | None = None,
        path: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
        init: str | None = None,
        layers: int | Sequence[int] | None = None,
        teacher: nn.Module | None = None,
    ):
        super().__init__()
        require_transformers()
        check_texts(NAME, shape, vocabulary, padding)
        texts = Texts(tuple(shape), vocabulary, padding, separator)
        folder = None
        if check_init(init):
            net = net_of_teacher(teacher, classes, layers)
            where = "init=teacher"
        elif path is not None:
            folder = find_folder(path)
            where = str(folder / CONFIG)
            net_config = make_config(read_json(folder / CONFIG), where, kind=TEXT_CLASSIFICATION)
            texts.fit(net_config, where)
            net_config.id2label = None  # names of other classes
            net_config.num_labels = classes
            net = pretrained(net_config, folder, TEXT_CLASSIFICATION, new_head=True)
            net = net if layers is None else with_layers(net, layers)
        else:
            check_source(NAME, path, config, EXAMPLE)
            settings = dict(config or {})
            where = f"config={settings}"
            net_config = make_config(settings, where, texts.sizes(), kind=TEXT_CLASSIFICATION)
            texts.fit(net_config, where)
            if net_config.num_labels != classes:
                net_config.num_labels = classes
            net = create(net_config, where, TEXT_CLASSIFICATION)
        self._find_tokenizer(folder)
        self._set_up(net, texts, where)
        self.train()

    @classmethod
    def around(cls, net: Any, texts: Texts, where: str) -> "HuggingFaceClassifier":
        """Create the classifier of texts that a network of transformers is.

        Args:
            net: Network, such as a ``BertForSequenceClassification``.
            texts: Texts of the data.
            where: Origin of the network, for messages.

        Raises:
            ConfigError: If it classifies no texts, or does not fit the data.
        """
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        model._set_up(net, texts, where)
        return model.train(net.training)

    def _set_up(self, net: Any, texts: Texts, where: str) -> None:
        texts.fit(net.config, where)
        check_length(net, where, texts.shape[0])
        self.texts, self.padding, self.classes = texts, texts.padding, net.config.num_labels
        self._has_types = getattr(net.config, "type_vocab_size", 0) > 1
        self.arguments = {
            "shape": list(texts.shape),
            "classes": self.classes,
            "vocabulary": texts.vocabulary,
            "padding": texts.padding,
            "separator": texts.separator,
            "config": settings_of(net.config),
        }
        self._set_net(net)

    def forward(self, ids: Tensor) -> Tensor:
        """Compute logits ``[B, C]`` of token ids ``[B, l]``, ``l <= L``, padded at their end."""
        tokens, mask = self._mask_padding(ids)
        types = self.texts.types(ids) if self._has_types else None
        options = {} if types is None else {"token_type_ids": types}
        return self.net(
            input_ids=tokens, attention_mask=mask.long(), return_dict=True, **options
        ).logits

    @torch.no_grad()
    def _test(self) -> None:
        """Test with a short text that the model classifies it, and that padding changes nothing."""
        device = next(self.net.parameters()).device
        length = min(PROBE_LENGTH, self.arguments["shape"][0])
        choices = [i for i in range(self.arguments["vocabulary"]) if i != self.padding][-length:]
        text = torch.tensor([choices], device=device)
        room = max(0, min(PROBE_PADDING, self.arguments["shape"][0] - text.shape[1]))
        padded = nn.functional.pad(text, (0, room), value=self.padding)
        try:
            with eval_mode(self.net), quiet():
                logits, others = self(text), self(padded)
        except LimbeckError:
            raise
        except Exception as error:  # models of transformers may raise anything
            raise ConfigError(
                f"{self.name} cannot classify token ids {list(text.shape)} ({one_line(error)}). "
                "Choose an encoder, such as bert or distilbert."
            ) from None
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
    place: str | Path, texts: Texts
) -> tuple[HuggingFaceClassifier, list[str] | None]:
    """Load a classifier of texts with its head, as ``AutoModelForSequenceClassification`` does.

    Args:
        place: Folder written by ``save_pretrained``, or name of a model on the hub.
        texts: Texts of the data.

    Returns:
        The model in eval mode, and the names of its classes; None if they are only numbered.

    Raises:
        ConfigError: If transformers is missing, there is no such model, or it classifies no texts.
        ResourceError: If the hub cannot be reached.
        UntrustedFileError: If a file is damaged.
    """
    require_transformers()
    folder = find_folder(place)
    settings, where = read_json(folder / CONFIG), str(folder / CONFIG)
    config = make_config(settings, where, kind=TEXT_CLASSIFICATION)
    texts.fit(config, where)
    net = pretrained(config, folder, TEXT_CLASSIFICATION)
    model = HuggingFaceClassifier.around(net, texts, where)
    model._find_tokenizer(folder)
    return model.eval(), class_names_of(settings)


def with_mask(model: nn.Module, texts: Texts) -> nn.Module:
    """Return a network of transformers as a classifier of texts, which masks the padding.

    Args:
        model: Any model. Models of others are returned unchanged.
        texts: Texts of the data.
    """
    transformers = sys.modules.get("transformers")
    if transformers is None or not isinstance(model, transformers.PreTrainedModel):
        return model
    return HuggingFaceClassifier.around(model, texts, type(model).__name__)

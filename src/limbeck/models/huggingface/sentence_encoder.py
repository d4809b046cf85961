"""Sentence encoders: an encoder of transformers, whose token features are pooled to one vector."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.models.blocks import check_init
from limbeck.models.eval_mode import eval_mode
from limbeck.models.huggingface.base import check_source
from limbeck.models.huggingface.config import make_config, settings_of
from limbeck.models.huggingface.hub import (
    CONFIG,
    find_folder,
    one_line,
    quiet,
    read_json,
    require_transformers,
)
from limbeck.models.huggingface.layers import with_layers
from limbeck.models.huggingface.pooling import POOLINGS, is_sentence_encoder, pool, read_pooling
from limbeck.models.huggingface.pretrained import ENCODER, create, pretrained
from limbeck.models.huggingface.text_transformer import TextTransformer
from limbeck.models.huggingface.texts import Texts, check_length
from limbeck.models.normalized import model_name
from limbeck.models.text_inputs import check_texts

NAME = "SentenceEncoder"
TOKENS_AT_ONCE = 1024
EXAMPLE = "model_type: bert, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2"


class SentenceEncoder(TextTransformer):
    """A sentence encoder of transformers (extra ``hf``), in float32.

    The features of the tokens are pooled, and the vector is scaled to length 1 if the encoder was
    trained so.

    Args:
        shape: Shape of one input, ``(L,)``: the token ids of a text, padded at its end.
        classes: Number of dimensions that the vectors have to have; None for any.
        vocabulary: Number of token ids of the data, with that of the padding.
        padding: Token id of the padding.
        path: Folder of sentence-transformers, from which pooling and weights are read. No code is
            loaded.
        config: Settings of a model with random weights if ``path`` is None, as for
            :class:`limbeck.models.HuggingFaceClassifier`.
        pooling: Pooling of a model from settings: ``mean``, ``cls`` (first token), ``max``,
            ``mean_sqrt_len`` or ``lasttoken``.
        normalize: Whether vectors of a model from settings have length 1.
        frame: Token ids that the tokenizer adds before and after a text.
        init: ``teacher`` to start from layers of the ``teacher`` and to pool as it does, not from
            ``path`` or ``config``.
        layers: Number of layers to take from the teacher or folder, which are spread evenly from
            the first to the last, as in DistilBERT; or a list of their numbers; None for all of a
            folder and half of a teacher.
        teacher: Teacher of the same kind.

    Raises:
        ConfigError: If transformers is missing, the folder names no pooling or holds no encoder, it
            does not fit the texts, or its vectors have another number of dimensions.
        ResourceError: If the hub cannot be reached.
        UntrustedFileError: If a file is damaged.
    """

    pooling: str
    normalize: bool
    frame: list[list[int]]

    def __init__(
        self,
        shape: Sequence[int],
        classes: int | None = None,
        *,
        vocabulary: int = 0,
        padding: int = 0,
        path: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
        pooling: str = "mean",
        normalize: bool = True,
        frame: Sequence[Sequence[int]] = ((), ()),
        init: str | None = None,
        layers: int | Sequence[int] | None = None,
        teacher: nn.Module | None = None,
    ):
        super().__init__()
        require_transformers()
        check_texts(NAME, shape, vocabulary, padding)
        texts = Texts(tuple(shape), vocabulary, padding)
        if check_init(init):
            source = _encoder_of(teacher)
            pooling, normalize, frame = source.pooling, source.normalize, source.frame
            where = "init=teacher"
            net = with_layers(source.net, layers, kind=ENCODER)
        elif path is not None:
            root = Path(path) if is_sentence_encoder(Path(path)) else find_folder(path)
            own = read_pooling(root)
            pooling, normalize = own.mode, own.normalize
            folder = find_folder(root / own.encoder)
            where = str(folder / CONFIG)
            net_config = make_config(read_json(folder / CONFIG), where, kind=ENCODER)
            texts.fit(net_config, where)
            net = pretrained(net_config, folder, ENCODER)
            net = net if layers is None else with_layers(net, layers, kind=ENCODER)
            self._find_tokenizer(folder)
            _check_max_length(own.max_length, where, texts.shape[0])
        else:
            check_source(NAME, path, config, EXAMPLE)
            where = f"config={dict(config or {})}"
            net_config = make_config(dict(config or {}), where, texts.sizes(), kind=ENCODER)
            texts.fit(net_config, where)
            net = create(net_config, where, ENCODER)
        if pooling not in POOLINGS:
            raise ConfigError(
                f"pooling={pooling!r} is unknown. Choose one of {', '.join(POOLINGS)}."
            )
        check_length(net, where, texts.shape[0])
        self.pooling, self.normalize = pooling, normalize
        self.frame = [list(ids) for ids in frame]
        self._token_vectors: Tensor | None = None
        self.texts, self.padding = texts, texts.padding
        self.arguments = {
            "shape": list(texts.shape),
            "vocabulary": texts.vocabulary,
            "padding": texts.padding,
            "config": settings_of(net.config),
            "pooling": self.pooling,
            "normalize": self.normalize,
            "frame": self.frame,
        }
        self._set_net(net)
        if classes is not None and classes != self.dimensions:
            raise ConfigError(
                f"{where}: its vectors have {self.dimensions} dimensions, but the teacher's have "
                f"{classes}. Choose an encoder with as many, or student=encoder, which has a layer "
                "that maps them."
            )
        self.train()

    @property
    def dimensions(self) -> int:
        """Number of dimensions of the vectors."""
        size: int = self.net.config.get_text_config().hidden_size
        return size

    @torch.no_grad()
    def token_vectors(self) -> Tensor:
        """Return the vector ``[V, D]`` of each token id of the data as a text of its own.

        They are computed once, since a sentence encoder is not trained.
        """
        if self._token_vectors is None:
            device = next(self.parameters()).device
            before, after = (torch.tensor(ids, dtype=torch.long) for ids in self.frame)
            parts = []
            for ids in torch.arange(self.arguments["vocabulary"]).split(TOKENS_AT_ONCE):
                texts = [before.expand(len(ids), -1), ids[:, None], after.expand(len(ids), -1)]
                parts.append(self(torch.cat(texts, 1).to(device)).cpu())
            self._token_vectors = torch.cat(parts)
        return self._token_vectors

    def forward(self, ids: Tensor) -> Tensor:
        """Compute vectors ``[B, D]`` of token ids ``[B, l]``, ``l <= L``, padded at their end."""
        tokens, mask = self._mask_padding(ids)
        output = self.net(input_ids=tokens, attention_mask=mask.long(), return_dict=True)
        vectors = pool(output.last_hidden_state, mask, self.pooling)
        return F.normalize(vectors, dim=-1) if self.normalize else vectors

    @torch.no_grad()
    def _test(self) -> None:
        """Test with a short text that the model encodes it."""
        device = next(self.net.parameters()).device
        ids = [i for i in range(self.arguments["vocabulary"]) if i != self.padding][-1:]
        try:
            with eval_mode(self.net), quiet():
                vectors = self(torch.tensor([ids], device=device))
        except Exception as error:  # models of transformers may raise anything
            raise ConfigError(
                f"{self.name} cannot encode token ids [1, 1] ({one_line(error)}). Choose an "
                "encoder, such as bert or mpnet."
            ) from None
        if vectors.ndim != 2:
            raise ConfigError(
                f"{self.name} gives {list(vectors.shape)} for one text, not a vector."
            )


def _encoder_of(teacher: nn.Module | None) -> SentenceEncoder:
    """Return the teacher, which has to be a sentence encoder of transformers."""
    if teacher is None:
        raise ConfigError("init=teacher needs a teacher, but there is none.")
    if not isinstance(teacher, SentenceEncoder):
        raise ConfigError(
            "init=teacher takes layers of a sentence encoder of transformers, but the teacher is "
            f"{model_name(teacher)}. Choose the folder of one as teacher.from, or student=encoder "
            "student.init=null."
        )
    return teacher


def _check_max_length(most: int | None, where: str, length: int) -> None:
    if most is not None and length > most:
        raise ConfigError(
            f"{where}: the encoder was made for texts of at most {most} tokens, and cuts longer "
            f"ones, but the data has texts of up to {length}. Set data.length={most} or less."
        )


def load_sentence_encoder(
    place: str | Path, texts: Texts, frame: Sequence[Sequence[int]]
) -> SentenceEncoder:
    """Load a sentence encoder in eval mode.

    Args:
        place: Folder of sentence-transformers, or name of a model on the hub.
        texts: Texts of the data.
        frame: Token ids that the tokenizer adds before and after a text.

    Raises:
        ConfigError: If transformers is missing, or the folder holds no sentence encoder.
        ResourceError: If the hub cannot be reached.
        UntrustedFileError: If a file is damaged.
    """
    model = SentenceEncoder(
        texts.shape,
        vocabulary=texts.vocabulary,
        padding=texts.padding,
        path=place,
        frame=frame,
    )
    return model.eval()

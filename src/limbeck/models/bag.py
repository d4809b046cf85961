"""A bag of embeddings: the mean of the embeddings of a text's tokens, and a small network on it."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from limbeck._base.checks import check_counts
from limbeck.models.blocks import TOKEN_VECTORS, check_init
from limbeck.models.mlp import check_probability
from limbeck.models.text_inputs import TextModel, mask_of, masked_mean
from limbeck.models.token_embeddings import teacher_embeddings, token_vectors

STD = 0.1
"""Standard deviation of initial embeddings."""


class BagOfEmbeddings(TextModel):
    """A classifier of texts that ignores the order of the tokens.

    The embeddings of the tokens are averaged, and hidden layers and a linear layer follow (Iyyer et
    al. 2015; without hidden layers Joulin et al. 2017, fastText). It is the fastest classifier of
    texts, because each token costs one look-up.

    Args:
        shape: Shape of one input, ``(L,)``: the largest number of tokens of a text.
        classes: Number of classes.
        vocabulary: Number of token ids, with that of the padding.
        padding: Id of the padding at the end of texts.
        width: Number D of features of a token.
        hidden: Widths of hidden layers.
        dropout: Dropout probability of the mean and of hidden units.
        init: ``teacher`` to start from the embeddings of the ``teacher``, or from their first
            principal components if it has more than D; ``token_vectors`` for the vectors that a
            sentence encoder gives each token alone, see
            :func:`~limbeck.models.token_embeddings.token_vectors`.
        teacher: Teacher with embeddings of the same tokens.
        special: Token ids that do not count, such as those that a tokenizer adds to each text.

    Raises:
        ConfigError: If the inputs are not texts, if a number is out of range, or if the teacher has
            no such embeddings.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        vocabulary: int = 0,
        padding: int = 0,
        width: int = 128,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        init: str | None = None,
        teacher: nn.Module | None = None,
        special: Sequence[int] = (),
    ):
        hidden = check_counts("hidden", hidden)
        check_probability("dropout", dropout)
        super().__init__(
            shape,
            classes,
            vocabulary=vocabulary,
            padding=padding,
            width=width,
            hidden=hidden,
            dropout=dropout,
        )
        if special:
            self.arguments["special"] = list(special)
        self.special = list(special)
        nn.init.normal_(self.tokens.weight, std=STD)
        start = None
        if init == TOKEN_VECTORS:
            start = token_vectors(teacher, vocabulary, width, classes)
            self.tokens = nn.Embedding.from_pretrained(STD * start.table, freeze=False)
        elif check_init(init):
            table = STD * teacher_embeddings(teacher, vocabulary, width)
            self.tokens = nn.Embedding.from_pretrained(table, freeze=False)
        layers: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
        widths = [width, *hidden]
        for wide, next_wide in itertools.pairwise(widths):
            layers += [nn.Linear(wide, next_wide), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        last = nn.Linear(widths[-1], classes)
        if start is not None:
            last = start.layer(hidden)
        self.layers = nn.Sequential(*layers, last)

    @property
    def name(self) -> str:
        """Name with the widths, such as ``bag-128`` or ``bag-128-64``."""
        return "-".join(["bag", *map(str, (self.arguments["width"], *self.arguments["hidden"]))])

    def forward(self, ids: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of token ids ``[B, l]`` (int32 or int64), ``l <= L``."""
        ids = self.without_special(ids)
        x = self.tokens(ids)
        return self.layers(masked_mean(x, mask_of(ids, self.padding, x)))

    def without_special(self, ids: Tensor) -> Tensor:
        """Replace the token ids that do not count by the padding."""
        for number in self.special:
            ids = ids.masked_fill(ids == number, self.padding)
        return ids

"""Texts as inputs of a model: token ids that are padded at their end."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError


class TextModel(nn.Module):
    """Base of models that classify texts: their settings and token embeddings.

    Args:
        shape: Shape of one input, ``(L,)``: the largest number of tokens of a text.
        classes: Number of classes.
        vocabulary: Number of token ids, with that of the padding.
        padding: Id of the padding at the end of texts.
        width: Number D of features of a token.
        settings: Further arguments of the model, with which it is rebuilt.

    Attributes:
        arguments: All arguments with which the model is rebuilt.
        padding: Id of the padding.
        tokens: Embeddings of the tokens.

    Raises:
        ConfigError: If the inputs are not texts, or if a number is out of range.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        vocabulary: int,
        padding: int,
        width: int,
        **settings: Any,
    ):
        super().__init__()
        check_texts(type(self).__name__, shape, vocabulary, padding)
        check_count("width", width)
        self.arguments: dict[str, Any] = {
            "shape": list(shape),
            "classes": classes,
            "vocabulary": vocabulary,
            "padding": padding,
            "width": width,
            **settings,
        }
        self.padding = padding
        self.tokens = nn.Embedding(vocabulary, width)

    def extra_repr(self) -> str:
        """Return the settings that cannot be seen in the weights."""
        return f"padding={self.padding}"


def check_texts(name: str, shape: Sequence[int], vocabulary: int, padding: int) -> None:
    """Check the inputs of a model that classifies texts.

    Args:
        name: Name of the model, for messages.
        shape: Shape of one input.
        vocabulary: Number of token ids, with that of the padding.
        padding: Id of the padding.

    Raises:
        ConfigError: If they are not texts, or if a number is out of range.
    """
    if len(shape) != 1 or vocabulary == 0:
        raise ConfigError(
            f"{name} needs texts [L] of one class each, but the dataset has inputs of shape "
            f"{list(shape)}. Choose texts (data=text_csv or text_folders) or another model."
        )
    check_count("vocabulary", vocabulary)
    if isinstance(padding, bool) or not isinstance(padding, int) or not 0 <= padding < vocabulary:
        raise ConfigError(f"padding={padding!r} should be from 0 to {vocabulary - 1}.")


def mask_of(ids: Tensor, padding: int, like: Tensor) -> Tensor:
    """Return 1 for tokens and 0 for padding, ``[..., L, 1]``, in the type of ``like``.

    Args:
        ids: Token ids ``[..., L]``.
        padding: Id of the padding.
        like: Features that the mask is multiplied with.
    """
    return (ids != padding).unsqueeze(-1).to(like.dtype)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Compute the mean of the features of each text, ``[..., D]``, without the padding.

    Args:
        x: Features ``[..., L, D]``.
        mask: Mask of :func:`mask_of`.
    """
    return (x * mask).sum(-2) / mask.sum(-2).clamp(min=1)

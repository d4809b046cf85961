"""Matching a state dict with a model, by names and shapes."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

MAX_NAMES_IN_MESSAGE = 4
"""Maximum number of names in a message."""
_MAX_PREFIX_PARTS = 8
_BATCH_COUNTER = "num_batches_tracked"
"""BatchNorm's counter of batches, which old files lack and limbeck does not use."""
_TRAINING_ONLY = re.compile(
    r"n_averaged|(\w+_)?(criterion|loss|metrics?)(_\w+)?|(train|val|valid|test)_\w+"
    r"|aux\d?|aux_(logits|classifier)|AuxLogits"
)
"""Names that training adds next to the layers of a model, and on which no answer depends."""
_WRAPPERS = ("module", "_orig_mod", "model", "net", "network", "teacher", "student")
"""Names under which training scripts hold the model itself."""


@dataclass(frozen=True)
class Match:
    """The part of a state dict that belongs to a module.

    Attributes:
        prefix: Prefix of the module's names in the file, such as ``model.``; often empty.
        weights: Tensors of the file below the prefix, without it.
        missing: Names of the module that are not in the file.
        surplus: Names below the prefix that are not in the module.
        outside: Names in the file that are not below the prefix.
        shapes: Tensors whose shape differs, in words.
        names: Names of the tensors of the module.
    """

    prefix: str
    weights: dict[str, Tensor]
    missing: Sequence[str]
    surplus: Sequence[str]
    outside: Sequence[str]
    shapes: Sequence[str]
    names: Collection[str]

    @property
    def is_complete(self) -> bool:
        """Whether the module has all its tensors, and the rest of the file does not matter."""
        if self.missing or self.shapes:
            return False
        if not all(_TRAINING_ONLY.fullmatch(_first(name)) for name in self.surplus):
            return False
        return not self.dropped or self.prefix.split(".")[-2] in _WRAPPERS

    @property
    def dropped(self) -> list[str]:
        """Names outside of the prefix that may be more than traces of the training."""
        return [name for name in self.outside if not _TRAINING_ONLY.fullmatch(_first(name))]

    @property
    def fit(self) -> int:
        """Number of tensors that fit."""
        return len(self.names) - len(self.missing) - len(self.shapes)

    def module_weights(self) -> dict[str, Tensor]:
        """The tensors of the module alone."""
        return {name: tensor for name, tensor in self.weights.items() if name in self.names}

    def difference(self) -> str:
        """Describe how names and shapes differ, in the names of the file."""
        differences = []
        if self.missing:
            differences.append(f"it lacks {_join(self._in_file(self.missing))}")
        extra = [*self._in_file(self.surplus), *self.dropped]
        if extra:
            differences.append(f"it also has {_join(extra)}")
        differences += [f"{self.prefix}{line}" for line in self.shapes[:MAX_NAMES_IN_MESSAGE]]
        return f"{self.fit} of {len(self.names)} tensors fit; {'; '.join(differences)}"

    def _in_file(self, names: Sequence[str]) -> list[str]:
        return [f"{self.prefix}{name}" for name in names]


def matches(module: nn.Module, weights: Mapping[str, Tensor]) -> list[Match]:
    """Compare a module with the tensors below every prefix in a file, best match first."""
    own = module.state_dict()
    sizes = Counter(prefix for name in weights for prefix in _prefixes(name))
    enough = [prefix for prefix, size in sizes.items() if 2 * size >= len(own)]
    candidates = [compare(module, weights, prefix) for prefix in ["", *enough]]
    return sorted(candidates, key=lambda match: (-match.is_complete, -match.fit, match.prefix))


def compare(module: nn.Module, weights: Mapping[str, Tensor], prefix: str = "") -> Match:
    """Compare a module with the tensors below a prefix."""
    own = module.state_dict()
    inner = {}
    for name, tensor in weights.items():
        if name.startswith(prefix):
            inner[name.removeprefix(prefix)] = tensor
    shapes = []
    for name, tensor in own.items():
        if name in inner and inner[name].shape != tensor.shape:
            shapes.append(
                f"{name} has the shape {list(inner[name].shape)}, the model's has "
                f"{list(tensor.shape)}"
            )
    return Match(
        prefix=prefix,
        weights=inner,
        missing=sorted(_relevant(own) - _relevant(inner)),
        surplus=sorted(_relevant(inner) - _relevant(own)),
        outside=sorted(name for name in weights if not name.startswith(prefix)),
        shapes=shapes,
        names=own.keys(),
    )


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")[:-1][:_MAX_PREFIX_PARTS]
    return [".".join(parts[:count]) + "." for count in range(1, len(parts) + 1)]


def _relevant(names: Mapping[str, Tensor]) -> set[str]:
    return {name for name in names if not name.endswith(_BATCH_COUNTER)}


def _first(name: str) -> str:
    return name.partition(".")[0]


def _join(names: Sequence[str]) -> str:
    text = ", ".join(names[:MAX_NAMES_IN_MESSAGE])
    if len(names) > MAX_NAMES_IN_MESSAGE:
        text += f" and {len(names) - MAX_NAMES_IN_MESSAGE} more"
    return text

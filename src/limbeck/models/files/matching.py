"""Matching a state dict with a model, by names and shapes."""

import re
from collections import Counter, defaultdict
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
_INSERTED = (
    "module",
    "model",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
)
"""Names that wrappers for devices, compilation or memory add, at any place in a name."""
_DENSENET = re.compile(r"\b(denselayer\d+\.(?:norm|conv))\.([12])\b")
"""Names in torchvision's files of DenseNets, whose models have ``norm1`` instead of ``norm.1``."""


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
    _fill_ties(inner, module)
    shapes = []
    for name, tensor in own.items():
        if name in inner:
            shapes += _misfit(name, inner[name], tensor)
    return Match(
        prefix=prefix,
        weights=inner,
        missing=sorted(_relevant(own) - _relevant(inner)),
        surplus=sorted(_relevant(inner) - _relevant(own)),
        outside=sorted(name for name in weights if not name.startswith(prefix)),
        shapes=shapes,
        names=own.keys(),
    )


def _fill_ties(weights: dict[str, Tensor], module: nn.Module) -> None:
    """Add the tensors that a module shares between names and a file has only once."""
    names = defaultdict(list)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    for name, buffer in module.named_buffers(remove_duplicate=False):
        names[id(buffer)].append(name)
    for group in names.values():
        saved = [name for name in group if name in weights]
        if saved:
            weights |= {name: weights[saved[0]] for name in group if name not in weights}


def _misfit(name: str, tensor: Tensor, own: Tensor) -> list[str]:
    """Describe why a tensor of a file cannot be one of a module; empty if it can."""
    if tensor.shape != own.shape:
        return [f"{name} has the shape {list(tensor.shape)}, the model's has {list(own.shape)}"]
    if own.is_floating_point() and not tensor.is_floating_point():
        return [
            f"{name} has integers ({tensor.dtype}), as in quantised models, the model's has "
            f"{own.dtype}"
        ]
    return []


def without_wrappers(module: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a file whose names differ from a module's by those of wrappers.

    Wrappers such as DataParallel or ``torch.compile`` may be around any part of a model, as in
    ``features.module.0.weight`` for ``features.0.weight``.

    Returns:
        The tensors by their new names; the same names if two of them would become one.
    """
    own: dict[str, str] = {}
    for name in module.state_dict():
        if own.setdefault(_plain(name), name) != name:
            return dict(weights)
    renamed = {}
    for name, tensor in weights.items():
        target = _own_name(_plain(name), own)
        if target in renamed:
            return dict(weights)
        renamed[target] = tensor
    return renamed


def _plain(name: str) -> str:
    parts = [part for part in name.split(".") if part not in _INSERTED]
    return _DENSENET.sub(r"\1\2", ".".join(parts))


def _own_name(plain: str, own: Mapping[str, str]) -> str:
    """Return the name of a module's tensor with the prefix of the file."""
    parts = plain.split(".")
    for start in range(min(len(parts), _MAX_PREFIX_PARTS + 1)):
        rest = ".".join(parts[start:])
        if rest in own:
            return ".".join([*parts[:start], own[rest]])
    return plain


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

"""Models filled with weights: their own, or those of the part of a file that belongs to them."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import Tensor, nn

from limbeck._base.errors import LimbeckWarning, TeacherError
from limbeck.models.files.matching import Match, compare, matches, without_wrappers
from limbeck.models.normalized import model_name, without_normalization
from limbeck.models.protocols import CustomFiles
from limbeck.models.regressor import Regressor


def fill(model: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    """Fill a model with weights; names and shapes must match exactly.

    Raises:
        TeacherError: If they do not match.
    """
    if not isinstance(model, CustomFiles):
        match = compare(model, weights)
        if match.missing or match.surplus or match.shapes:
            raise TeacherError(
                f"{file} does not fit the model {model_name(model)}: {match.difference()}."
            )
        weights = match.weights
    _load(model, weights, file)


def _load(model: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    try:
        if isinstance(model, CustomFiles):
            model.load_weights(weights)
        else:
            model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise TeacherError(f"{file} does not fit the model {model_name(model)}: {reason}") from None


def fill_rebuilt(model: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    """Fill a model that may be on the meta device, after checking names and shapes."""
    is_meta = any(parameter.is_meta for parameter in model.parameters())
    if is_meta and not isinstance(model, CustomFiles):
        fill(model, {name: tensor.to("meta") for name, tensor in weights.items()}, file)
        model.to_empty(device="cpu")
    fill(model, weights, file)


def build_and_fill(
    weights: dict[str, Tensor], build: Callable[[], nn.Module] | None, file: Path, reason: str
) -> nn.Module:
    """Build a user's model, and fill it or the network in it that the weights belong to."""
    if build is None:
        raise TeacherError(
            f"{file}: {reason}, so limbeck cannot rebuild the model. Set the model that it belongs "
            "to (teacher.model), or in Python pass build=, a function that returns the untrained "
            "model."
        )
    model = build()
    net = without_normalization(model)
    if isinstance(net, CustomFiles):
        fill(net, weights, file)
        return model
    # pairs of the part that the weights may belong to and the model to return: weights may come
    # with or without normalisation, and without a module around the network that they belong to
    parts = [(model, model), (net, net)]
    if isinstance(net, Regressor):  # weights of a user's own network, whose values have units
        parts.append((net.net, net.net))
    parts += [(inner, net) for inner in _inner_modules(net)]
    closest: Match | None = None
    for part, whole, state in _states(parts, weights):
        candidates = matches(part, state)
        if candidates[0].is_complete:
            _check_unique(candidates, file)
            _warn_of_dropped(candidates[0], file)
            _load(part, candidates[0].module_weights(), file)
            return whole
        if _loads_with_hooks(part, candidates[0]):
            return whole
        if closest is None or candidates[0].fit > closest.fit:
            closest = candidates[0]
    assert closest is not None
    raise TeacherError(
        f"{file} does not fit the model {model_name(model)}: {closest.difference()}. Describe the "
        "architecture of the file with teacher= (in Python: build=)."
    )


def _inner_modules(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the network inside a wrapper such as limbeck's of torchvision, at any depth."""
    while True:
        children = list(module.children())
        has_own = next(module.parameters(recurse=False), next(module.buffers(recurse=False), None))
        if len(children) != 1 or has_own is not None:
            return
        module = children[0]
        yield module


def _states(
    parts: Sequence[tuple[nn.Module, nn.Module]], weights: dict[str, Tensor]
) -> Iterator[tuple[nn.Module, nn.Module, dict[str, Tensor]]]:
    """Yield each part with the weights as they are, then with those without names of wrappers."""
    for part, whole in parts:
        yield part, whole, weights
    for part, whole in parts:
        renamed = without_wrappers(part, weights)
        if renamed.keys() != weights.keys():
            yield part, whole, renamed


def _loads_with_hooks(module: nn.Module, match: Match) -> bool:
    """Load weights whose names only the module's own hooks translate; return whether they fit.

    An example is ``weight_norm``, whose tensors had other names before PyTorch 2.0.
    """
    if not match.missing or not match.surplus or match.dropped:
        return False
    try:
        module.load_state_dict(match.weights, strict=True)
    except RuntimeError:
        return False
    return True


def _check_unique(candidates: Sequence[Match], file: Path) -> None:
    """Refuse a file with several models that fit, such as a model and its moving average."""
    keys = [match.prefix.rstrip(".") for match in candidates if match.is_complete]
    if len(keys) > 1:
        raise TeacherError(
            f"{file} contains several models that fit: the tensors below {' and '.join(keys)}. "
            f"Choose one, as with teacher.key={keys[0]} (in Python: key=)."
        )


def _warn_of_dropped(match: Match, file: Path) -> None:
    if match.dropped:
        names = dict.fromkeys(name.partition(".")[0] for name in match.dropped)
        warnings.warn(
            f"{file}: only the tensors below {match.prefix} are read; others are left out "
            f"({', '.join(names)}). teacher.key (in Python: key=) chooses another part.",
            LimbeckWarning,
            stacklevel=2,
        )

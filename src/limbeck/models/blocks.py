"""Blocks of a deep network that a shallower one starts from."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.models.normalized import model_name
from limbeck.models.output_map import OutputMap

TEACHER = "teacher"
"""Value of ``init`` for students that start from their teacher."""
TOKEN_VECTORS = "token_vectors"
"""Value of ``init`` for students that start from the vectors their teacher gives single tokens."""


def check_init(init: object) -> bool:
    """Return whether a student starts from its teacher.

    Raises:
        ConfigError: If ``init`` is neither None nor "teacher".
    """
    if init not in (None, TEACHER):
        raise ConfigError(f"init={init!r} should be teacher, or null for random weights.")
    return init == TEACHER


def chosen_blocks(blocks: int | Sequence[int] | None, total: int) -> list[int]:
    """Return the numbers of the blocks to take.

    Args:
        blocks: Number of blocks, which are spread evenly from the first to the last, as in
            DistilBERT (6 of 12 are 0, 2, 4, 7, 9, 11); or their numbers; None for all.
        total: Number of blocks that there are.

    Raises:
        ConfigError: If there are not as many.
    """
    if blocks is None:
        return list(range(total))
    if isinstance(blocks, int) and not isinstance(blocks, bool) and 1 <= blocks <= total:
        gaps = max(1, blocks - 1)
        return [(2 * number * (total - 1) + gaps) // (2 * gaps) for number in range(blocks)]
    if isinstance(blocks, (list, tuple)) and blocks:
        numbers = [number for number in blocks if type(number) is int and 0 <= number < total]
        if len(numbers) == len(blocks) and numbers == sorted(set(numbers)):
            return numbers
    raise ConfigError(
        f"layers={blocks!r} should be a number from 1 to {total}, or a list of ascending numbers "
        f"from 0 to {total - 1}: there are {total} layers."
    )


def block_list(model: nn.Module, total: int) -> str | None:
    """Return the path of the list of a network's blocks; None without one.

    Args:
        model: Network.
        total: Number of blocks.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == total:
            return name
    return None


def start_from(student: nn.Module, teacher: nn.Module | None, path: str, head: str) -> None:
    """Copy the weights of a teacher of the same class and widths, with fewer blocks.

    Args:
        student: Student, which is changed.
        teacher: Teacher. If its classes are in another order, the head is not copied.
        path: Path of the list of blocks.
        head: Path of the last layer.

    Raises:
        ConfigError: If the teacher is of another class, or its widths differ.
    """
    model = teacher.net if isinstance(teacher, OutputMap) else teacher
    kind = type(student)
    if type(model) is not kind:
        name = "none" if teacher is None else model_name(teacher)
        raise ConfigError(
            f"init=teacher: a {kind.__name__} starts from another one, but the teacher is {name}. "
            "Choose such a teacher, or init=null."
        )
    blocks, own = len(model.get_submodule(path)), len(student.get_submodule(path))  # type: ignore
    weights = weights_of_blocks(model.state_dict(), path, chosen_blocks(own, blocks))
    if model is not teacher:
        weights = {name: w for name, w in weights.items() if not name.startswith(f"{head}.")}
    shapes = {name: tensor.shape for name, tensor in student.state_dict().items()}
    for name, weight in weights.items():
        if weight.shape != shapes.get(name):
            raise ConfigError(
                f"init=teacher: {name} has the shape {list(weight.shape)} in the teacher but "
                f"{list(shapes.get(name, []))} in the student. Give the student the widths of the "
                "teacher; only the number of layers may be smaller."
            )
    student.load_state_dict(weights, strict=model is teacher)


def weights_of_blocks(
    weights: Mapping[str, Tensor], path: str, numbers: Sequence[int]
) -> dict[str, Tensor]:
    """Return the weights of a network with some of its blocks alone, numbered from 0.

    Args:
        weights: Weights of the network by name.
        path: Path of the list of its blocks.
        numbers: Numbers of the blocks.
    """
    new_number = {str(number): str(place) for place, number in enumerate(numbers)}
    result = {}
    for name, weight in weights.items():
        if not name.startswith(f"{path}."):
            result[name] = weight
            continue
        number, _, rest = name[len(path) + 1 :].partition(".")
        if number in new_number:
            result[f"{path}.{new_number[number]}.{rest}"] = weight
    return result

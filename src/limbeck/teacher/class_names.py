"""Names of a teacher's outputs: given as a list or a file, or written in a command."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck._base.errors import ConfigError, TeacherError
from limbeck._base.reading import parse_json, read_text

MAX_BYTES = 4 << 20
MAX_OUTPUTS = 1 << 20
"""Largest number of outputs that a file may name."""
KEYS = ("id2label", "label2id", "class_to_idx", "class_names", "classes", "names")
"""Keys of JSON files that hold names next to other settings, as in ``config.json``."""
_PLAIN = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_KEYWORDS = ("null", "true", "false", "nan", "inf")
"""Words that are no text in the grammar of settings."""
_INTEGER = re.compile(r"0|[1-9]\d{0,15}", re.ASCII)
FORMS = (
    "a text file with one name per line, or JSON: a list of names, {output: name} or {name: output}"
)

Names = tuple[str | None, ...]
"""Names of the outputs in their order; None for an output that is no class of the data."""


def check_names(names: Any, where: str) -> Names:
    """Check the names of the outputs of a teacher.

    Args:
        names: List of names, with None for outputs that are no class of the data.
        where: Setting or file, for messages.

    Raises:
        ConfigError: If it is no list, has fewer than two names, or repeats one.
    """
    if not isinstance(names, Sequence) or isinstance(names, str):
        raise ConfigError(
            f"{where} should list the names of the teacher's outputs in their order, as in "
            "teacher.classes=[cat,dog], with null for an output that is no class of the data."
        )
    texts = tuple(None if name is None else str(name) for name in names)
    classes = [name for name in texts if name is not None]
    repeated = sorted({name for name in classes if classes.count(name) > 1})
    if repeated:
        raise ConfigError(f"{where} lists {repeated[0]!r} twice. Each output is another class.")
    if len(classes) < 2:
        raise ConfigError(f"{where} should list at least two classes, but has {len(classes)}.")
    return texts


def read_names(file: Path) -> Names:
    """Read the names of a teacher's outputs from a file.

    Args:
        file: Text with one name per line; or JSON with a list of names, an object from outputs to
            names or from names to outputs, or such an entry, as in the ``config.json`` of
            transformers.

    Raises:
        TeacherError: If it is missing, or has another form.
    """
    try:
        text = read_text(file, MAX_BYTES)
        content = parse_json(text) if file.suffix.lower() == ".json" else _lines(text)
        names = _from_json(content)
    except FileNotFoundError:
        raise TeacherError(f"teacher.map={file} does not exist. Choose {FORMS}.") from None
    except OSError as error:
        raise TeacherError(f"teacher.map={file} cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise TeacherError(
            f"teacher.map={file} does not name the teacher's outputs ({error}). Choose {FORMS}."
        ) from None
    return check_names(names, f"teacher.map={file}")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.removeprefix("\ufeff").splitlines() if line.strip()]


def _from_json(content: Any) -> list[str | None]:
    if isinstance(content, Mapping):
        for key in KEYS:
            if isinstance(content.get(key), list | Mapping):
                content = content[key]
                break
    if isinstance(content, list):
        return [None if name is None else _name(name) for name in content]
    if not isinstance(content, Mapping):
        raise ValueError("it holds neither a list nor an object")
    outputs = content
    if not all(_is_output(key) for key in content):
        outputs = {number: name for name, number in content.items()}
    if not outputs or not all(_is_output(key) for key in outputs):
        raise ValueError("its keys or its values should be the numbers of outputs, from 0")
    if len(outputs) < len(content):
        raise ValueError("two names have the same output")
    names: list[str | None] = [None] * (max(map(int, outputs)) + 1)
    for number, name in outputs.items():
        names[int(number)] = None if name is None else _name(name)
    return names


def _is_output(key: Any) -> bool:
    is_text = isinstance(key, str) and _INTEGER.fullmatch(key) is not None
    if not is_text and type(key) is not int:
        return False
    return 0 <= int(key) < MAX_OUTPUTS


def _name(value: Any) -> str:
    """Return a name; of an entry such as ``["n02119789", "kit_fox"]``, the last part."""
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is no name")
    return str(value)


def names_setting(names: Sequence[str | None]) -> str:
    """Return the setting that names the outputs of a teacher, as a word of the command line."""
    words = ["null" if name is None else _word(name) for name in names]
    setting = f"teacher.classes=[{','.join(words)}]"
    quoted = setting.replace("'", "'\"'\"'")
    return f"'{quoted}'"


def _word(name: str) -> str:
    is_plain = _PLAIN.fullmatch(name) and name.lower() not in _KEYWORDS
    if is_plain or _INTEGER.fullmatch(name):
        return name
    escaped = re.sub(r'(\\*)("|$)', lambda match: 2 * match[1] + match[2].replace('"', '\\"'), name)
    return f'"{escaped}"'

"""Files of ``torch.save`` as data: an interpreter of pickles that calls and imports nothing.

``torch.load`` with ``weights_only=True`` refuses a whole file because of one object next to the
weights, such as a hyper-parameter that is a kind of dictionary. Here everything but containers,
numbers, texts and tensors becomes a :class:`Placeholder`.
"""

import io
import pickletools
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from torch import Tensor

from limbeck._base.runtime.files import open_file
from limbeck.models.files.tensor_data import (
    DTYPES,
    STORAGE_DTYPES,
    TENSOR_FUNCTIONS,
    rebuild_tensor,
    values_of,
)

HEADER_PICKLES = 3
"""Number of pickles before the content in the format of before PyTorch 1.6."""
_CONTAINERS: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_MAPPINGS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter")
_IGNORED = ("PROTO", "FRAME", "STOP", "READONLY_BUFFER")


class Placeholder(dict[Any, Any]):
    """An object of a class that is not loaded. It keeps its state and entries, and runs no code."""

    name = "an unknown class"
    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "Placeholder":
        """Create an empty placeholder, whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)


class Global(NamedTuple):
    """A class or function that a file names, such as ``torch.FloatStorage``."""

    name: str


class Storage(NamedTuple):
    """The values of a storage; None for a kind that holds no plain numbers."""

    values: Tensor | None


Load = Callable[[Any], Any]
"""Function from the identity of a storage in a file to the :class:`Storage`."""


def read_data(file: Path) -> Any:
    """Read the content of a file of ``torch.save``, of any version, as data.

    Args:
        file: Zip archive, or a file in the format of before PyTorch 1.6.

    Raises:
        ValueError: If the file is damaged, or an instruction in it is unknown. Damage may also
            raise ``LookupError``, ``TypeError``, ``AttributeError``, ``RuntimeError`` or
            ``OSError``.
    """
    if zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_archive(archive)
        except zipfile.BadZipFile as error:
            raise ValueError(str(error)) from None
    with open_file(file) as stream:
        return _read_stream(stream, file.stat().st_size)


def _read_archive(archive: zipfile.ZipFile) -> Any:
    (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    folder = name.removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist():
        order = archive.read(f"{folder}byteorder")
        if order != b"little":
            raise ValueError(f"its numbers have the byte order {order[:10]!r}")
    storages: dict[str, Storage] = {}

    def load(identity: Any) -> Storage:
        _, kind, key, *_ = identity
        if key not in storages:
            content = archive.read(f"{folder}data/{key}")
            storages[key] = Storage(values_of(content, STORAGE_DTYPES.get(kind.name)))
        return storages[key]

    return Interpreter(load).run(io.BytesIO(archive.read(name)))


def _read_stream(stream: BinaryIO, size: int) -> Any:
    """Read the format of before PyTorch 1.6: several pickles, then the values of all storages."""
    kinds: dict[str, str] = {}
    for _ in range(HEADER_PICKLES):
        Interpreter(lambda _: None).run(stream)
    start = stream.tell()

    def record(identity: Any) -> Storage:
        if identity[0] == "storage":
            kinds[identity[2]] = identity[1].name
        return Storage(None)

    Interpreter(record).run(stream)
    keys = Interpreter(record).run(stream)
    storages = {}
    for key in keys:
        dtype = STORAGE_DTYPES[kinds[key]]
        length = int.from_bytes(stream.read(8), "little") * dtype.itemsize
        if length > size - stream.tell():
            raise ValueError("it ends before the values of its tensors")
        storages[key] = values_of(stream.read(length), dtype)

    def load(identity: Any) -> Any:
        if identity[0] != "storage":
            return identity[1]  # a module with its source code
        values, view = storages[identity[2]], identity[5]
        if view is None or values is None:
            return Storage(values)
        _, first, count = view
        return Storage(values[first : first + count])

    stream.seek(start)
    return Interpreter(load).run(stream)


class Interpreter:
    """A stack machine for the instructions of a pickle.

    Args:
        load: Function that returns the storage of an identity.
    """

    def __init__(self, load: Load):
        self.load = load
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: BinaryIO) -> Any:
        """Interpret one pickle, up to its end, and return its object."""
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in _IGNORED:
                continue
            is_known = self._memory(opcode.name, argument) or self._container(opcode.name)
            if not is_known and not self._object(opcode.name, argument):
                if argument is None:
                    raise ValueError(f"the instruction {opcode.name} is unknown")
                self._push(argument)  # a number, a text or bytes
        return self.stack.pop()

    def _memory(self, name: str, argument: Any) -> bool:
        """Follow an instruction of stack or memory; False for another one."""
        match name:
            case "MARK":
                self.outer.append(self.stack)
                self.stack = []
            case "POP_MARK":
                self._above_mark()
            case "POP":
                self.stack.pop()
            case "DUP":
                self._push(self.stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self._push(self.memo[argument])
            case _:
                return False
        return True

    def _container(self, name: str) -> bool:
        """Follow an instruction that creates or fills a container; False for another one."""
        match name:
            case _ if name in _CONSTANTS:
                self._push(_CONSTANTS[name])
            case _ if name in _CONTAINERS:
                self._push(_CONTAINERS[name]())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [self.stack.pop() for _ in range(int(name[-1]))]
                self._push(tuple(reversed(items)))
            case "TUPLE":
                self._push(tuple(self._above_mark()))
            case "LIST" | "FROZENSET":
                self._push(self._above_mark())
            case "DICT":
                content: dict[Any, Any] = {}
                _fill(content, self._above_mark())
                self._push(content)
            case "APPEND":
                _extend(self.stack[-2], [self.stack.pop()])
            case "APPENDS" | "ADDITEMS":
                items = self._above_mark()
                _extend(self.stack[-1], items)
            case "SETITEM":
                value, key = self.stack.pop(), self.stack.pop()
                _fill(self.stack[-1], [key, value])
            case "SETITEMS":
                items = self._above_mark()
                _fill(self.stack[-1], items)
            case _:
                return False
        return True

    def _object(self, name: str, argument: Any) -> bool:
        """Follow an instruction that would call something; False for another one."""
        match name:
            case "GLOBAL":
                self._push(Global(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                attribute, module = self.stack.pop(), self.stack.pop()
                self._push(Global(f"{module}.{attribute}"))
            case "REDUCE" | "NEWOBJ":
                arguments, kind = self.stack.pop(), self.stack.pop()
                self._push(_create(kind, arguments))
            case "NEWOBJ_EX":
                _, arguments, kind = self.stack.pop(), self.stack.pop(), self.stack.pop()
                self._push(_create(kind, arguments))
            case "OBJ":
                kind, *arguments = self._above_mark()
                self._push(_create(kind, tuple(arguments)))
            case "INST":
                kind = Global(argument.replace(" ", "."))
                self._push(_create(kind, tuple(self._above_mark())))
            case "BUILD":
                state = self.stack.pop()
                if isinstance(self.stack[-1], Placeholder):
                    self.stack[-1].state = state
            case "BINPERSID":
                self._push(self.load(self.stack.pop()))
            case _:
                return False
        return True

    def _push(self, item: Any) -> None:
        self.stack.append(item)  # here, since the argument may have replaced the stack

    def _above_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items


def _create(kind: Any, arguments: Any) -> Any:
    """Return a tensor, a dictionary, or a placeholder for any other object."""
    name = kind.name if isinstance(kind, Global) else type(kind).__name__
    function = name.rpartition(".")[2]
    if name.startswith("torch.") and function in TENSOR_FUNCTIONS:
        if function == "_rebuild_from_type_v2":  # a subclass of tensors with its state
            return _create(arguments[0], arguments[2])
        tensor = arguments[0]
        if isinstance(tensor, Storage):
            dtypes = [DTYPES.get(part.name) for part in arguments if isinstance(part, Global)]
            tensor = rebuild_tensor(tensor.values, *arguments[1:4], dtype=next(iter(dtypes), None))
        if isinstance(tensor, Tensor):
            return tensor
    if name in _MAPPINGS:
        content: dict[Any, Any] = {}
        for pairs in arguments:
            if isinstance(pairs, list):
                _fill(content, [part for pair in pairs for part in pair])
        return content
    placeholder = Placeholder()
    placeholder.name = name
    return placeholder


def _fill(content: Any, items: list[Any]) -> None:
    """Set the entries of a dictionary from keys and values in turn.

    Entries whose keys are objects are left out; they would have to be hashed.
    """
    if not isinstance(content, dict):
        return
    for key, value in zip(items[::2], items[1::2], strict=True):
        if key is None or isinstance(key, (str, int, float, bytes)):
            content[key] = value


def _extend(content: Any, items: Iterable[Any]) -> None:
    """Append to a list; other objects with items, such as a queue, hold no weights."""
    if isinstance(content, list):
        content.extend(items)

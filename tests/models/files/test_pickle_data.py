"""Files of ``torch.save`` with objects of any class are read as data, and nothing is called."""

import argparse
import collections
import datetime
import enum
import functools
import io
import os
import pickle
import struct
import sys
import types
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck.models import MLP, load_model
from limbeck.models.files.pickle_data import Placeholder, read_data
from limbeck.models.files.tensor_data import rebuild_tensor

X = torch.rand(5, 1, 2, 2)
FORMATS = [(protocol, new) for protocol in (2, 3, 4, 5) for new in (True, False)]


def own():
    torch.manual_seed(0)
    return MLP((1, 2, 2), 3, hidden=[4]).eval()


class Settings(dict):
    """A dictionary with attributes, as in many libraries of configurations."""


class Names(list):
    pass


class Colour(enum.Enum):
    RED = 1


class Slots:
    __slots__ = ("value",)

    def __init__(self):
        self.value = 3


Point = collections.namedtuple("Point", "x y")


class Fault:
    """Unpickling it would end the process."""

    def __reduce__(self):
        return os._exit, (1,)


OBJECTS = {
    "dictionary": Settings(lr=0.1, nested=Settings(a=[1, 2])),
    "list": Names(["a"]),
    "enum": {Colour.RED: Colour.RED},
    "slots": Slots(),
    "named tuple": Point(1, 2),
    "sets": {"a", frozenset({1})},
    "bytes": b"content",
    "function": functools.partial(nn.functional.relu, inplace=True),
    "date": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
    "namespace": argparse.Namespace(a=Settings()),
    "large number": 2**100,
    "system": os.uname(),
    "code": Fault(),
    "queue": collections.deque([1, 2]),
    "defaults": collections.defaultdict(list, a=[1]),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_hyper_parameters_of_any_class_are_not_loaded(tmp_path, name):
    """As a checkpoint of Lightning has them."""
    model = own()
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    content = {
        "epoch": 3,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": state,
        "hyper_parameters": {"it": OBJECTS[name]},
    }
    for protocol, new in FORMATS[::3]:
        torch.save(
            content,
            tmp_path / "it.ckpt",
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=new,
        )
        assert torch.equal(load_model(tmp_path / "it.ckpt", own).model(X), model(X))


def test_classes_that_are_not_installed_do_not_matter(tmp_path, monkeypatch):
    module = types.ModuleType("absent")
    module.Config = type("Config", (dict,), {"__module__": "absent"})
    module.Net = type("Net", (MLP,), {"__module__": "absent"})
    model = module.Net((1, 2, 2), 3, hidden=[4]).eval()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "absent", module)
        content = {"config": module.Config(a=1), "ema": model}
        torch.save(content, tmp_path / "new.pt")
        torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("new.pt", "old.pt"):
        assert torch.equal(load_model(tmp_path / name, own).model(X), model(X))


def tensors():
    base = torch.randn(4, 6)
    return {
        "plain": base,
        "transposed": base.T,
        "part": base[1:, ::2],
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "half": base.half(),
        "bfloat": base.bfloat16(),
        "double": base.double(),
        "float8": base.to(torch.float8_e4m3fn),
        "long": torch.arange(5),
        "bool": torch.tensor([True, False]),
        "byte": torch.arange(5, dtype=torch.uint8),
        "complex": torch.complex(base, base),
        "parameter": nn.Parameter(base),
        "unsigned": torch.arange(5).to(torch.uint16),
        "shared": base.view(-1)[3:9],
    }


@pytest.mark.parametrize(("protocol", "new"), FORMATS)
def test_tensors_are_those_that_torch_reads(tmp_path, protocol, new):
    content = tensors()
    torch.save(
        content, tmp_path / "it.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=new
    )
    result = read_data(tmp_path / "it.pt")
    assert result.keys() == content.keys()
    for name, tensor in content.items():
        assert result[name].dtype == tensor.dtype, name
        assert result[name].shape == tensor.shape, name
        assert result[name].stride() == tensor.stride(), name
        assert torch.equal(result[name].detach().double(), tensor.detach().double()) or (
            name == "complex" and torch.equal(result[name], tensor)
        ), name


def test_containers_and_numbers_are_those_of_python(tmp_path):
    content = {
        "a": [1, -2, 3.5, None, True, "text", (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ()],
        2: collections.OrderedDict(b=1),
        "large": 2**70,
    }
    content["again"] = content["a"]
    for protocol, new in FORMATS:
        torch.save(
            content,
            tmp_path / "it.pt",
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=new,
        )
        assert read_data(tmp_path / "it.pt") == content
    torch.save([b"bytes"], tmp_path / "it.pt", pickle_protocol=3)
    assert read_data(tmp_path / "it.pt") == [b"bytes"]


def test_objects_are_placeholders_with_their_state(tmp_path):
    torch.save({"it": argparse.Namespace(a=1), "kind": Settings(b=2)}, tmp_path / "it.pt")
    result = read_data(tmp_path / "it.pt")
    assert isinstance(result["it"], Placeholder)
    assert result["it"].name == "argparse.Namespace"
    assert result["it"].state == {"a": 1}
    assert dict(result["kind"]) == {"b": 2}


def archive_of(data, **files):
    """A file like those of ``torch.save`` with a given pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("it/data.pkl", data)
        for name, content in files.items():
            archive.writestr(f"it/data/{name}", content)
    return buffer.getvalue()


def tensor_pickle(offset, shape, stride):
    """The pickle of one tensor with a storage of 16 bytes."""

    class Ref:
        pass

    class Rebuilt:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Ref(), offset, shape, stride, False, None)

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if isinstance(item, Ref):
                return ("storage", torch.FloatStorage, "0", "cpu", 4)
            return None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"w": Rebuilt(), "it": Settings()})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (0, (5,), (1,)),
        (4, (1,), (1,)),
        (-1, (1,), (1,)),
        (0, (2, 3), (3, 1)),
        (0, (2,), (1 << 62,)),
        (0, (-1,), (1,)),
        (0, ("a",), (1,)),
        (0, (2,), (1, 1)),
        (None, (2,), (1,)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, offset, shape, stride):
    with pytest.raises((ValueError, TypeError)):
        rebuild_tensor(torch.zeros(4), offset, shape, stride)


def test_a_tensor_of_an_archive_is_read_from_its_storage(tmp_path):
    values = struct.pack("<4f", 1, 2, 3, 4)
    data = tensor_pickle(1, (2,), (2,))
    (tmp_path / "it.pt").write_bytes(archive_of(data, **{"0": values}))
    assert read_data(tmp_path / "it.pt")["w"].tolist() == [2, 4]
    (tmp_path / "it.pt").write_bytes(archive_of(data))
    with pytest.raises((TeacherError, UntrustedFileError)):
        load_model(tmp_path / "it.pt", own)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"a.",
        b"\x80\x02}",
        b"\x80\x02.",
        b"\x80\x02)u.",
        b"\x80\x02\xff.",
        b"\x80\x02h\x07.",
        b"",
    ],
    ids=["long text", "no end", "nothing", "no mark", "unknown", "unknown object", "empty"],
)
def test_a_broken_pickle_is_an_error(tmp_path, data):
    (tmp_path / "it.pt").write_bytes(archive_of(data))
    with pytest.raises((ValueError, LookupError)):
        read_data(tmp_path / "it.pt")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02Nr\xff\xff\xff\x7f}.",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"}.",
        b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b"q\x01}h\x01K\x01s.",
    ],
    ids=["number of an object", "long frame", "key whose hash takes without end"],
)
def test_small_pickles_take_neither_memory_nor_time(tmp_path, data):
    (tmp_path / "it.pt").write_bytes(archive_of(data))
    assert read_data(tmp_path / "it.pt") == {}


def error_of(file):
    try:
        load_model(file, own)
    except (TeacherError, UntrustedFileError) as error:
        return error


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_damage_is_an_error_that_names_the_file(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "damaged-data.pt"
    is_new = data.draw(st.booleans())
    content = {"state_dict": own().state_dict(), "it": Settings(a=Names([1]))}
    torch.save(content, file, _use_new_zipfile_serialization=is_new, pickle_protocol=4)
    good = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(bytes(good[: data.draw(st.integers(len(good) // 2, len(good)))]))
    error = error_of(file)
    assert error is None or str(file) in str(error)

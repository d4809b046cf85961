from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.errors import UntrustedFileError
from limbeck.run.records import extra_keys, from_json, optional, to_json


@dataclass(frozen=True, kw_only=True)
class Point:
    x: float
    y: float | None = None


@dataclass(frozen=True, kw_only=True)
class Point3(Point):
    z: float


@dataclass(frozen=True, kw_only=True)
class Shape:
    name: str
    sides: int
    filled: bool = False
    colour: Literal["red", "blue"] = "red"
    corners: tuple[Point3 | Point, ...] = ()
    box: tuple[float, float] | None = None
    weights: Mapping[str, float] | None = optional()
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Open:
    first: int
    others: Mapping[str, Any] = extra_keys()
    last: int | None = optional()


SHAPE = {
    "name": "triangle",
    "sides": 3,
    "filled": True,
    "colour": "blue",
    "corners": [{"x": 0, "y": None}, {"x": 0.5, "y": 1.5, "z": 2}],
    "box": [0.0, 1],
    "weights": {"a": 1, "b": 0.5},
    "settings": {"deep": [{"er": None}]},
}


def message_of(content, kind=Shape):
    with pytest.raises(UntrustedFileError) as caught:
        from_json(kind, content, where="shape.json")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_record_is_read_with_the_types_of_its_hints():
    shape = from_json(Shape, SHAPE, where="shape.json")
    assert shape == Shape(
        name="triangle",
        sides=3,
        filled=True,
        colour="blue",
        corners=(Point(x=0), Point3(x=0.5, y=1.5, z=2)),
        box=(0.0, 1),
        weights={"a": 1, "b": 0.5},
        settings={"deep": [{"er": None}]},
    )


def test_a_record_is_written_as_it_was_read():
    content = to_json(from_json(Shape, SHAPE, where="shape.json"))
    assert content == SHAPE
    assert list(content) == list(SHAPE)


def test_whole_numbers_stay_whole():
    content = to_json(from_json(Shape, SHAPE, where="shape.json"))
    assert isinstance(content["box"][1], int)
    assert isinstance(content["corners"][0]["x"], int)


def test_fields_with_a_default_may_be_missing_or_null():
    short = from_json(Shape, {"name": "line", "sides": 1}, where="shape.json")
    nulls = {"filled": None, "colour": None, "corners": None, "box": None, "settings": None}
    assert from_json(Shape, {"name": "line", "sides": 1, **nulls}, where="shape.json") == short
    assert short.corners == ()


def test_optional_fields_are_left_out_where_they_are_none():
    content = to_json(Shape(name="line", sides=1))
    assert "weights" not in content
    assert content["settings"] is None


def test_unknown_keys_are_ignored():
    shape = from_json(Shape, {**SHAPE, "area": 5}, where="shape.json")
    assert to_json(shape) == SHAPE


def test_further_keys_keep_their_place():
    content = {"first": 1, "b": [2], "a": {"c": None}, "last": 3}
    record = from_json(Open, content, where="open.json")
    assert record == Open(first=1, others={"b": [2], "a": {"c": None}}, last=3)
    assert list(to_json(record)) == ["first", "b", "a", "last"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 5}, "shape.json: name should be a string, found 5."),
        ({"sides": "3"}, "shape.json: sides should be an integer, found '3'."),
        ({"sides": 3.0}, "shape.json: sides should be an integer, found 3.0."),
        ({"sides": True}, "shape.json: sides should be an integer, found True."),
        ({"sides": None}, "shape.json: sides should be an integer, found None."),
        ({"filled": 1}, "shape.json: filled should be true or false, found 1."),
        ({"colour": "green"}, "colour should be one of 'red', 'blue', found 'green'."),
        ({"colour": ["red"]}, "colour should be one of 'red', 'blue', found ['red']."),
        ({"corners": {}}, "corners should be a list, found {}."),
        ({"corners": [{"x": 1}, 2]}, "corners[1] should be an object, found 2."),
        ({"corners": [{"y": 1}]}, "corners[0].x is missing."),
        ({"corners": [{"x": 1, "z": "a"}]}, "corners[0].z should be a number, found 'a'."),
        ({"corners": [{"x": 1, "z": 1e308}]}, "z should be at most 1e+300 in size, found 1e+308."),
        ({"sides": -(10**301)}, f"sides should be at most 1e+300 in size, found {-(10**301)}."),
        ({"box": [1]}, "box should be a list of 2 items, found [1]."),
        ({"box": [1, "2"]}, "box[1] should be a number, found '2'."),
        ({"weights": {"a": "b"}}, "weights.a should be a number, found 'b'."),
        ({"weights": []}, "weights should be an object, found []."),
    ],
    ids=repr,
)
def test_the_message_names_the_path_of_a_wrong_value(change, message):
    assert message_of({**SHAPE, **change}).endswith(message)


@pytest.mark.parametrize("content", [None, [], "text", 5])
def test_a_record_needs_an_object(content):
    message = message_of(content)
    assert message == f"shape.json: the content should be an object, found {content!r}."


@pytest.mark.parametrize("key", ["name", "sides"])
def test_the_message_names_a_missing_key(key):
    content = {name: value for name, value in SHAPE.items() if name != key}
    assert message_of(content) == f"shape.json: {key} is missing."


NUMBERS = st.integers(-5, 5) | st.floats(-1e300, 1e300)


@settings(max_examples=20, deadline=None)
@given(
    record=st.builds(
        Shape,
        name=st.text(max_size=3),
        sides=st.integers(),
        filled=st.booleans(),
        corners=st.lists(st.builds(Point3, x=NUMBERS, y=st.none() | NUMBERS, z=NUMBERS)).map(tuple),
        box=st.none() | st.tuples(NUMBERS, NUMBERS),
        weights=st.none() | st.dictionaries(st.text(max_size=2), NUMBERS, max_size=2),
    )
)
def test_writing_and_reading_gives_the_same_record(record):
    assert from_json(Shape, to_json(record), where="shape.json") == record

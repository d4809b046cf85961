"""Strategies of odd values, and of damage to files that were valid."""

import copy
import json

import yaml
from hypothesis import strategies as st

TEXTS = (
    "",
    " ",
    "null",
    "~",
    "nan",
    "-inf",
    "-1",
    "0",
    "1",
    "2",
    "1.5",
    "-0.0",
    "1e400",
    "1e-320",
    "99999999999999999999",
    "9" * 5000,
    "true",
    "[]",
    "[1,2]",
    "[0,0,0]",
    "[-1]",
    "[[1],{}]",
    "[a,null]",
    "[" * 300 + "]" * 300,
    "{}",
    "{a:1}",
    "{a:{b:[1]}}",
    "{_target_:limbeck.data.digits}",
    "{_target_:builtins.int}",
    "{_target_:nix.Nix}",
    "{_target_:3}",
    "{_partial_:true}",
    "'a b'",
    '"it\'s"',
    "'",
    "ünïcödé",
    "\N{GRINNING FACE}",
    "\u2028",
    "\udcff",
    "\x00",
    "\x1b[31mred",
    "\\",
    "..",
    ".",
    "/",
    "/dev/null",
    "/dev/zero",
    "/proc/self/mem",
    "nix/../nix",
    "file.csv",
    "x" * 5000,
    "${seeds}",
    "${nix}",
    "${oc.env:NIX}",
    "${oc.decode:'['}",
    "${.}",
    "${",
    "${now:%Y}",
    "$",
    "???",
    "=",
    "a=b",
    "%",
    "1,2",
    "a,,b",
    "null,null",
    "choice(1,2)",
    "choice()",
    "range(1,3)",
    "range(3)",
    "range(0,1,0)",
    "range(1,99999999999)",
    "interval(0,1)",
    "glob(*)",
    "sort(3,2,1)",
    "shuffle(1,2)",
    "tag(t,1)",
    "extend_list(1)",
    "int(3.7)",
    "float(x)",
    "str([1])",
    "json_str({a:1})",
    "bool(2)",
    "0x10",
    "1_000",
    "2024-01-01",
    "(",
    "[1",
    "{a",
    "{a:1,a:2}",
    "{1:2}",
    "{true:[]}",
)

texts = st.one_of(
    st.sampled_from(TEXTS),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(repr),
    st.text(max_size=8).filter(lambda text: text.isprintable()),
)
"""Values of settings as one writes them on a command line."""

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from([2**31, 2**63, -(2**70), 10**400]),
    st.floats(),
    st.sampled_from(["", "x", "0", "nan", "../x", "/", "\x00", "\x1b[2J", "ü", "a" * 300, "<b>"]),
    st.text(max_size=6),
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
"""Values of any type that JSON and YAML can hold."""


def places(content, path=()):
    """Paths of all values in nested dictionaries and lists."""
    paths = []
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    else:
        items = ()
    for key, value in items:
        paths += [(*path, key), *places(value, (*path, key))]
    return paths


@st.composite
def changed_content(draw, content):
    """Nested dictionaries and lists with one or two changes."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 2))):
        paths = places(content)
        if not paths:
            return draw(json_values)
        *parents, key = draw(st.sampled_from(paths))
        owner = content
        for parent in parents:
            owner = owner[parent]
        match draw(st.sampled_from(["replace", "remove", "double", "add", "swap"])):
            case "replace":
                owner[key] = draw(json_values)
            case "remove":
                del owner[key]
            case "double" if isinstance(owner, list):
                owner.append(copy.deepcopy(owner[key]))
            case "add" if isinstance(owner, dict):
                owner[draw(st.text(max_size=5))] = draw(json_values)
            case _:
                other = draw(st.sampled_from(paths))
                owner[key] = copy.deepcopy(_value_at(content, other))
    return content


def _value_at(content, path):
    for key in path:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return None
    return content


@st.composite
def changed_bytes(draw, content):
    """Bytes that are cut, flipped, repeated, inserted or replaced by others."""
    content = bytearray(content)
    place = draw(st.integers(0, len(content)))
    match draw(st.sampled_from(["cut", "flip", "flip", "insert", "repeat", "replace", "empty"])):
        case "cut":
            del content[place:]
        case "flip" if place < len(content):
            content[place] ^= 1 << draw(st.integers(0, 7))
        case "insert":
            content[place:place] = draw(st.binary(min_size=1, max_size=9))
        case "repeat":
            content[place:place] = content[: draw(st.integers(1, 200))]
        case "replace":
            content = draw(st.binary(max_size=60))
        case _:
            content = b""
    return bytes(content)


@st.composite
def changed_json(draw, content):
    """The bytes of a JSON file, with other values, or damaged."""
    if draw(st.integers(0, 3)):
        value = draw(changed_content(json.loads(content)))
        return json.dumps(value).encode()
    return draw(changed_bytes(content))


@st.composite
def changed_yaml(draw, content):
    """The bytes of a YAML file, with other values, or damaged."""
    if draw(st.integers(0, 3)):
        value = draw(changed_content(yaml.safe_load(content)))
        return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")
    return draw(changed_bytes(content))


def changed_file(path):
    """The bytes of a file, changed in a way that suits its kind."""
    content = path.read_bytes()
    kinds = {".json": changed_json, ".yaml": changed_yaml}
    return kinds.get(path.suffix, changed_bytes)(content)

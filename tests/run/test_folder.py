import copy
import csv
import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.files import write_json
from limbeck.run.folder import METRICS, RunFolder, check_summary

MANIFEST = json.dumps({"recipe": "digits", "seeds": [0], "state": "finished"})


def ours(path):
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(MANIFEST)
    (path / "students").mkdir()
    (path / "students" / "model").write_text("old")
    return path


def strangers(path, manifest=None):
    path.mkdir(parents=True)
    (path / "thesis.tex").write_text("ten years of work")
    if manifest is not None:
        (path / "manifest.json").write_text(manifest)
    return path


def listing(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


def test_paths(tmp_path):
    run = RunFolder(str(tmp_path))
    assert run.student("kd", 3) == tmp_path / "students" / "kd" / "seed3"
    names = {p.relative_to(tmp_path).as_posix() for p in vars(run).values() if p != tmp_path}
    assert names == {
        "config.yaml",
        "manifest.json",
        "summary.json",
        "report.html",
        "metrics.csv",
        "predictions.npz",
        "teacher",
        "checkpoints",
        "logs",
        "cost.json",
        "examples.npz",
    }


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_folder_is_taken(tmp_path, exists, overwrite):
    path = tmp_path / "a" / "b"
    if exists:
        path.mkdir(parents=True)
    RunFolder(path).check(overwrite=overwrite)
    assert path.exists() == exists, "a check changes nothing"
    RunFolder(path).prepare(overwrite=overwrite)
    assert listing(path) == []
    assert path.is_dir()


@pytest.mark.parametrize("make", [ours, strangers])
def test_a_filled_folder_is_refused(tmp_path, make):
    path = make(tmp_path / "run")
    before = listing(path)
    for act in (RunFolder(path).check, RunFolder(path).prepare):
        with pytest.raises(
            ConfigError, match=r"is not empty \(it holds .*limbeck resume.*overwrite=true"
        ) as caught:
            act()
        assert str(path) in str(caught.value)
    assert listing(path) == before


def test_a_run_is_overwritten_when_asked(tmp_path):
    path = ours(tmp_path / "run")
    RunFolder(path).check(overwrite=True)
    assert len(listing(path)) == 3
    RunFolder(path).prepare(overwrite=True)
    assert listing(path) == []


@pytest.mark.parametrize(
    "manifest", [None, "{}", "[]", "not json", "", '{"name": "app", "icons": []}', "\xff"]
)
def test_what_is_not_ours_is_never_deleted(tmp_path, manifest):
    """Web pages and browser extensions have a manifest.json as well."""
    path = strangers(tmp_path / "home", manifest)
    before = listing(path)
    with pytest.raises(ConfigError, match=r"is not a run of limbeck .*will not delete it"):
        RunFolder(path).prepare(overwrite=True)
    assert listing(path) == before


def test_a_link_to_a_run_is_overwritten_where_it_points(tmp_path):
    path = ours(tmp_path / "disk" / "run")
    (tmp_path / "link").symlink_to(path)
    RunFolder(tmp_path / "link").prepare(overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert path.is_dir()
    assert listing(path) == []


def test_a_link_to_nowhere_gets_its_folder(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "later")
    RunFolder(tmp_path / "link").prepare()
    assert (tmp_path / "later").is_dir()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_place_of_a_folder(tmp_path, overwrite):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        RunFolder(tmp_path / "out").prepare(overwrite=overwrite)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_resuming_keeps_everything(tmp_path, overwrite):
    path = ours(tmp_path / "run")
    before = listing(path)
    RunFolder(path).prepare(resume=True, overwrite=overwrite)
    assert listing(path) == before


@pytest.mark.parametrize("make", [lambda path: path, lambda path: path.mkdir(), strangers])
def test_nothing_to_resume(tmp_path, make):
    make(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"holds no run to resume: manifest\.json is missing"):
        RunFolder(tmp_path / "run").prepare(resume=True)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(content=st.dictionaries(st.text(), JSON, max_size=4))
def test_json_round_trip(tmp_path_factory, content):
    run = RunFolder(tmp_path_factory.getbasetemp())
    write_json(run.summary, content)
    assert run.read_json(run.summary) == content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[]",
        b"null",
        b'"text"',
    ],
)
def test_damaged_json(tmp_path, content):
    run = RunFolder(tmp_path)
    run.summary.write_bytes(content)
    for read in (lambda: run.read_json(run.summary), run.read_summary):
        with pytest.raises(UntrustedFileError, match="is damaged") as caught:
            read()
        assert str(run.summary) in str(caught.value)


def test_missing_json(tmp_path):
    with pytest.raises(ConfigError, match=r"summary\.json is missing: .* is no finished run"):
        RunFolder(tmp_path).read_summary()


def test_scalars_round_trip(tmp_path):
    run = RunFolder(tmp_path)
    rows = [
        {
            "stage": "cohort0",
            "arm": 'a, "b"',
            "seed": 3,
            "epoch": 0,
            "metric": "val_loss",
            "value": 0.1 + 0.2,
        },
        {
            "stage": "teacher0",
            "arm": "teacher",
            "seed": 0,
            "epoch": 19,
            "metric": "val_acc",
            "value": 1e-300,
        },
    ]
    run.write_scalars(rows)
    assert run.read_scalars() == rows
    with run.metrics.open(newline="") as file:
        assert next(csv.reader(file)) == ["stage", "arm", "seed", "epoch", "metric", "value"]
    with pytest.raises(ValueError, match="unknown"):
        run.write_scalars([{**rows[0], "unknown": 1}])
    assert run.read_scalars() == rows
    assert listing(tmp_path) == ["metrics.csv"]


def metrics(value=0.5):
    return dict.fromkeys(METRICS, value)


SUMMARY = {
    "schema": 1,
    "recipe": "digits",
    "data": {"name": "digits", "classes": 10, "train": 1097, "val": 200, "test": 500},
    "teacher": {"name": "64-256-10", "params": 19210, "test": metrics()},
    "arms": [
        {
            "name": name,
            "student": "64-16-10",
            "params": 1210,
            "objective": {"soft": "kl"},
            "transfer": "all",
            "seeds": [{"seed": seed, "val": metrics(), "test": metrics()} for seed in (0, 1)],
            "mean": metrics(),
            "sd": metrics(),
        }
        for name in ("hard", "kd")
    ],
    "comparisons": [
        {
            "arm": "kd",
            "control": "hard",
            "delta_errors": {"mean": -3.5, "ci95": [-6.0, -1]},
            "mcnemar_p": 0.01,
            "gap_closed": {"errors": 0.5, "nll": None},
            "verdict": "helps",
        }
    ],
    "seconds": dict.fromkeys(("teacher", "store", "training", "evaluation", "total"), 1.5),
}


def walk(value, path=()):
    """(path, value) of everything inside, objective's own settings left out: they are free."""
    if path and path[-1] == "objective":
        yield path, value
        return
    if path:
        yield path, value
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in inner:
        yield from walk(child, (*path, key))


def spelt(path):
    """As messages name it: ``arms[0].seeds[1].val``, the top level being ``summary``."""
    text = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in path
    ).removeprefix(".")
    return text if len(path) > 1 else f"summary.{text}"


def parent(summary, path):
    for part in path[:-1]:
        summary = summary[part]
    return summary


PLACES = [path for path, _ in walk(SUMMARY)]
KEYS = [path for path in PLACES if isinstance(path[-1], str)]


def message_of(summary):
    with pytest.raises(UntrustedFileError) as caught:
        check_summary(summary, where="runs/a/summary.json")
    assert str(caught.value).startswith("runs/a/summary.json: ")
    return str(caught.value)


def test_a_valid_summary(tmp_path):
    check_summary(SUMMARY)
    run = RunFolder(tmp_path)
    write_json(run.summary, SUMMARY)
    assert run.read_summary() == SUMMARY


@pytest.mark.parametrize("path", KEYS, ids=spelt)
def test_every_key_is_required(path):
    summary = copy.deepcopy(SUMMARY)
    del parent(summary, path)[path[-1]]
    assert f"{spelt(path)} is missing" in message_of(summary)


def fits(path, was, value):
    """Whether ``value`` may stand where ``was`` stood; 7 is a number of every kind."""
    if path[-1] == "objective":
        return isinstance(value, dict)
    if isinstance(was, str):
        return isinstance(value, str) and path[-1] != "verdict"
    return not isinstance(was, (dict, list)) and type(value) is int and path != ("schema",)


@pytest.mark.parametrize("path", PLACES, ids=spelt)
@pytest.mark.parametrize("wrong", ["text", 7, True, {"a": 1}, [5]], ids=repr)
def test_every_type_is_checked(path, wrong):
    summary = copy.deepcopy(SUMMARY)
    container = parent(summary, path)
    if fits(path, container[path[-1]], wrong):
        container[path[-1]] = wrong
        check_summary(summary)
    else:
        container[path[-1]] = wrong
        assert spelt(path).removeprefix("summary.") in message_of(summary)


@settings(max_examples=60, deadline=None)
@given(path=st.sampled_from(PLACES), wrong=JSON)
def test_any_other_value_is_taken_or_named(path, wrong):
    summary = copy.deepcopy(SUMMARY)
    parent(summary, path)[path[-1]] = wrong
    with suppress(UntrustedFileError):
        check_summary(summary)


@pytest.mark.parametrize(
    "path", [p for p in KEYS if isinstance(parent(SUMMARY, p)[p[-1]], dict)], ids=spelt
)
def test_further_keys_are_welcome(path):
    summary = copy.deepcopy(SUMMARY)
    parent(summary, path)[path[-1]]["bits_per_byte"] = 1.0
    check_summary(summary)


def test_values_that_may_be_missing():
    summary = copy.deepcopy(SUMMARY)
    summary["teacher"] = None
    summary["comparisons"][0]["delta_errors"]["ci95"] = None
    summary["comparisons"][0]["mcnemar_p"] = None
    for arm in summary["arms"]:
        arm["sd"] = metrics(None)
    check_summary(summary)
    check_summary(summary | {"arms": [], "comparisons": []})


@pytest.mark.parametrize("schema", [0, 2, 99])
def test_another_schema(schema):
    assert f"schema {schema} is not 1; update limbeck" in message_of(SUMMARY | {"schema": schema})


@pytest.mark.parametrize("interval", [[], [1.0], ["a", "b"], [None, None]])
def test_bad_intervals(interval):
    summary = copy.deepcopy(SUMMARY)
    summary["comparisons"][0]["delta_errors"]["ci95"] = interval
    assert "comparisons[0].delta_errors.ci95" in message_of(summary)


@pytest.mark.parametrize("verdict", ["Helps", "", "maybe"])
def test_bad_verdicts(verdict):
    summary = copy.deepcopy(SUMMARY)
    summary["comparisons"][0]["verdict"] = verdict
    assert f"comparisons[0].verdict {verdict!r} is none of" in message_of(summary)


@pytest.mark.parametrize("summary", [None, [], "text", 5])
def test_a_summary_that_is_no_object(summary):
    assert "summary should be dict" in message_of(summary)

import copy
import json

import pytest

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.files import write_json
from limbeck.run.folder import RunFolder
from limbeck.run.metrics import GradedMetrics, Metrics, TextMetrics
from limbeck.run.records import to_json
from limbeck.run.summary import parse_summary, read_summary, write_summary

METRICS = ("errors", "accuracy", "nll", "ece", "agreement", "kl_to_teacher")
TEXT = ("bits_per_byte", "perplexity")


def metrics(value=0.5, more=()):
    return dict.fromkeys((*METRICS, *more), value)


def arm(name, more=()):
    """An arm with the keys that are required."""
    return {
        "name": name,
        "student": "64-16-10",
        "params": 1210,
        "objective": {"soft": "kl", "temperature": 4.0},
        "transfer": "all",
        "seeds": [
            {"seed": seed, "val": metrics(more=more), "test": metrics(more=more)} for seed in (0, 1)
        ],
        "mean": metrics(more=more),
        "sd": metrics(more=more),
    }


SHORTEST = {
    "schema": 1,
    "recipe": "digits",
    "data": {"name": "digits", "classes": 10, "train": 1097, "val": 200, "test": 500},
    "teacher": {"name": "64-256-10", "params": 19210, "test": metrics()},
    "arms": [arm("hard"), arm("kd")],
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
"""The keys that are required, as the first version of limbeck wrote them."""

ADJUSTED = {
    "how": "prior",
    "seeds": [
        {"seed": 0, "bias": [0.5, -0.5], "val": metrics(), "test": metrics(), "recall": [1.0, None]}
    ],
    "mean": metrics(),
    "sd": metrics(None),
}


def text_summary():
    """A study of text, with the keys that are required."""
    summary = copy.deepcopy(SHORTEST)
    summary["measure"] = "bits_per_byte"
    summary["data"] |= {
        "tokenizer": "bpe-50",
        "block": 16,
        "tokens": {"train": 160, "val": 32, "test": 32},
        "bytes": {"test": 128},
    }
    summary["teacher"]["test"] = metrics(more=TEXT)
    summary["arms"] = [arm("hard", TEXT), arm("kd", TEXT)]
    summary["comparisons"][0] |= {
        "delta_bits_per_byte": {"mean": -0.1, "ci95": None},
        "mcnemar_p": None,
        "p_value": 0.04,
    }
    return summary


def parent(summary, path):
    for part in path[:-1]:
        summary = summary[part]
    return summary


def message_of(summary):
    with pytest.raises(UntrustedFileError) as caught:
        parse_summary(summary, where="runs/a/summary.json")
    assert str(caught.value).startswith("runs/a/summary.json: ")
    return str(caught.value)


def spelt(path):
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


def places(value, path=()):
    """The paths of everything in a summary but the settings of an objective, which are free; of a
    list the last item.
    """
    if path:
        yield path
    if path and path[-1] == "objective":
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        yield from places(value[-1], (*path, len(value) - 1))


PLACES = list(places(SHORTEST))


def test_the_shortest_summary_is_read(tmp_path):
    run = RunFolder(tmp_path)
    write_json(run.summary, SHORTEST)
    summary = read_summary(run)
    assert summary.arm("kd").mean.errors == 0.5
    assert summary.arm("kd").control is False
    assert summary.comparisons[0].verdict == "helps"
    assert summary.comparisons[0].delta_errors.ci95 == (-6.0, -1)
    assert summary.measure == "errors"
    assert summary.failed == summary.warnings == summary.classes == ()


def test_a_written_summary_is_read_back(tmp_path):
    run = RunFolder(tmp_path)
    summary = parse_summary({**SHORTEST, "adjusted_comparisons": [], "warnings": ["careful"]})
    write_summary(run, summary)
    assert read_summary(run) == summary
    assert json.loads(run.summary.read_text()) == to_json(summary)


def test_a_summary_with_constants_is_read():
    arms = [{**arm("hard"), "adjusted": [ADJUSTED], "failed_control": "other"}]
    summary = parse_summary({**SHORTEST, "arms": arms, "comparisons": []})
    assert summary.arms[0].adjusted[0].seeds[0].recall == (1.0, None)
    assert to_json(summary.arms[0].adjusted[0]) == ADJUSTED


@pytest.mark.parametrize(
    "path", [p for p in PLACES if isinstance(p[-1], str) and p[-1] != "mcnemar_p"], ids=spelt
)
def test_every_key_is_required(path):
    summary = copy.deepcopy(SHORTEST)
    del parent(summary, path)[path[-1]]
    assert f"{spelt(path)} is missing" in message_of(summary)


@pytest.mark.parametrize("path", PLACES, ids=spelt)
def test_every_type_is_checked(path):
    summary = copy.deepcopy(SHORTEST)
    values = parent(summary, path)
    values[path[-1]] = True  # of no type that a summary has
    assert f"{spelt(path)} " in message_of(summary)


@pytest.mark.parametrize(
    "path", [p for p in PLACES if isinstance(parent(SHORTEST, p)[p[-1]], dict)], ids=spelt
)
def test_further_keys_are_welcome(path):
    summary = copy.deepcopy(SHORTEST)
    parent(summary, path)[path[-1]]["of a later version"] = 1.0
    parse_summary(summary)


def test_what_may_be_null():
    summary = copy.deepcopy(SHORTEST)
    summary["teacher"] = None
    summary["comparisons"][0]["delta_errors"]["ci95"] = None
    summary["comparisons"][0]["mcnemar_p"] = None
    for entry in summary["arms"]:
        entry["sd"] = metrics(None)
    assert parse_summary(summary).arms[0].sd.nll is None
    assert parse_summary({**summary, "arms": [], "comparisons": []}).main_comparison is None


@pytest.mark.parametrize("schema", [0, 2, 99])
def test_another_schema_is_refused(schema):
    message = message_of({**SHORTEST, "schema": schema})
    assert f"schema {schema} is not supported, expected 1. Update limbeck" in message


@pytest.mark.parametrize("interval", [[], [1.0], ["a", "b"], [None, None]])
def test_an_interval_is_two_numbers(interval):
    summary = copy.deepcopy(SHORTEST)
    summary["comparisons"][0]["delta_errors"]["ci95"] = interval
    assert "comparisons[0].delta_errors.ci95" in message_of(summary)


@pytest.mark.parametrize("verdict", ["Helps", "", "maybe"])
def test_an_unknown_verdict_is_refused(verdict):
    summary = copy.deepcopy(SHORTEST)
    summary["comparisons"][0]["verdict"] = verdict
    assert "comparisons[0].verdict should be one of 'helps', 'hurts'" in message_of(summary)


def test_names_of_arms_are_names_of_folders():
    summary = copy.deepcopy(SHORTEST)
    summary["arms"][0]["name"] = "x" * 256
    assert f"arm {'x' * 40}... cannot be a folder's name" in message_of(summary)


def test_an_unknown_measure_is_refused():
    assert "measure should be one of" in message_of({**SHORTEST, "measure": "smell"})


@pytest.mark.parametrize("summary", [None, [], "text", 5])
def test_a_summary_is_an_object(summary):
    assert "the content should be an object" in message_of(summary)


def test_metrics_are_of_the_task_whose_keys_they_have():
    summary = copy.deepcopy(SHORTEST)
    summary["arms"][1]["mean"]["kappa"] = None
    arms = parse_summary(summary).arms
    assert type(arms[0].mean) is Metrics
    assert type(arms[1].mean) is GradedMetrics
    assert type(parse_summary(text_summary()).arms[0].mean) is TextMetrics


@pytest.mark.parametrize(
    "path",
    [
        ("data", "tokenizer"),
        ("data", "block"),
        ("data", "tokens"),
        ("data", "tokens", "val"),
        ("data", "bytes"),
        ("data", "bytes", "test"),
        ("comparisons", 0, "delta_bits_per_byte"),
        ("teacher", "test", "perplexity"),
        ("arms", 1, "mean", "bits_per_byte"),
        ("arms", 1, "sd", "bits_per_byte"),
        ("arms", 1, "seeds", 1, "val", "perplexity"),
    ],
    ids=spelt,
)
def test_a_study_of_text_needs_more_keys(path):
    summary = text_summary()
    parse_summary(summary)
    del parent(summary, path)[path[-1]]
    message = message_of(summary)
    assert spelt(path) in message or (spelt(path[:-1]) in message and path[-1] in message)
    assert "missing" in message


def test_a_missing_summary_is_a_run_that_did_not_finish(tmp_path):
    with pytest.raises(ConfigError, match=r"summary\.json is missing: .*limbeck resume"):
        read_summary(RunFolder(tmp_path))


VARIANCES = {"seeds": 4.0, "samples": 9.0, "residual": 1.0, "number_of_samples": 500}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residual": -1.0}, "has a number below 0"),
        ({"seeds": 1e200}, "above 1e100"),
        ({"number_of_samples": 1}, r"should be from 2 to 1e\+15"),
    ],
)
def test_variances_that_no_plan_can_be_made_from_are_refused(change, message):
    summary = copy.deepcopy(SHORTEST)
    summary["comparisons"][0]["variances"] = VARIANCES
    parse_summary(summary)
    summary["comparisons"][0]["variances"] = {**VARIANCES, **change}
    with pytest.raises(UntrustedFileError, match=message):
        parse_summary(summary)


@pytest.mark.parametrize("key", ["arm", "reference"])
def test_replacements_name_arms_of_the_study(key):
    test = {"p_equivalent": 0.5, "p_not_worse": 0.5, "p_worse": 0.5}
    entry = {"arm": "kd", "reference": "hard", "delta": 1.0, "ci95": [0.0, 2.0]}
    entry |= {"margin_test": test, "verdict": "not shown"}
    summary = {**copy.deepcopy(SHORTEST), "margin": 10.0, "replacements": [entry]}
    parse_summary(summary)
    entry[key] = "x"
    assert "replacements[0] names 'x', which is no arm" in message_of(summary)

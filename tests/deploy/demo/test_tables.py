"""The demo of tables: a form with a field for each column; classes, labels or values."""

import json

import numpy as np
import pytest
import torch
from support.browser import open_browser
from support.demos import ask, models_of, open_page, request, served, tops, wait_until
from support.tables import COLUMNS, table_dataset, table_rows

from limbeck._base.errors import ConfigError
from limbeck.data import Dataset
from limbeck.deploy.demo import Demo
from limbeck.deploy.demo.tables import TableForm
from limbeck.evaluation.labels import best_thresholds

NAMES = ["old", "blue", "rich"]


def targets(task, count, seed):
    x, _ = table_rows(count, seed)
    age, colour, income = np.nan_to_num(x).T
    columns = [age > 50, colour == 2, income > 3000] if task == "multi_label" else [age, income]
    return x, np.stack(columns, 1).astype(np.float32)


def dataset(task):
    names = NAMES if task == "multi_label" else ["age in years", "income in EUR"]
    train, test = targets(task, 120, 0), targets(task, 40, 1)
    return Dataset.from_arrays(*train, *test, task=task, class_names=names, val=40, columns=COLUMNS)


def row(x):
    """Outputs that are the inputs, with 0 for missing values."""
    return x.nan_to_num()


@pytest.fixture(scope="module")
def demo():
    models = models_of(control=lambda x: row(x)[:, :2], student=lambda x: row(x)[:, [1, 0]])
    with served(models, table_dataset(), note="The teacher is an estimator.") as demo:
        yield demo


@pytest.fixture(scope="module")
def label_demo():
    with served(models_of(teacher=row, student=row), dataset("multi_label")) as demo:
        yield demo


@pytest.fixture(scope="module")
def value_demo():
    models = models_of(teacher=lambda x: row(x)[:, [0, 2]], student=lambda x: 2 * row(x)[:, [0, 2]])
    with served(models, dataset("regression")) as demo:
        yield demo


def facts_of(demo):
    return json.loads(request(demo, "GET", "/facts")[1])


def test_a_row_is_read_as_predict_reads_it(demo):
    assert ask(demo, "/row", ["1.5", "2", ""]) == (200, {"outputs": [[1.5, 2], [2, 1.5]]})
    assert ask(demo, "/row", [" NA ", "", "1e3"]) == (200, {"outputs": [[0, 0], [0, 0]]})


@pytest.mark.parametrize(
    ("cells", "answer"),
    [
        (["x", "0", ""], {"error": "age: 'x' is not a number", "field": 0}),
        (["1", "3", ""], {"error": "colour: it has no category 3", "field": 1}),
        (["1", "0.5", ""], {"error": "colour: it has no category 0.5", "field": 1}),
        (["1", "0", "1e99"], {"error": "income: '1e99' is too large", "field": 2}),
        (["1"], {"error": "expected a list of texts, 3 in number"}),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(demo, cells, answer):
    assert ask(demo, "/row", cells) == (400, answer)


def test_examples_are_rows_of_the_validation_split():
    data = table_dataset()
    form = TableForm(data)
    facts = form.facts()
    assert facts["columns"] == COLUMNS.as_json()
    rows = [form.read(json.dumps(example["cells"]).encode()) for example in facts["examples"]]
    inputs = torch.cat([row.inputs for row in rows])
    assert inputs.isnan().any()
    known = {tuple(map(str, row)) for row in data.val.inputs.tolist()}
    assert {tuple(map(str, row)) for row in inputs.tolist()} <= known
    assert {example["label"] for example in facts["examples"]} == {"0", "1"}


def test_labels_have_the_thresholds_of_the_validation_split(label_demo):
    data, facts = dataset("multi_label"), facts_of(label_demo)
    expected = best_thresholds(row(data.val.inputs), data.val.labels)
    assert facts["models"][0]["thresholds"] == pytest.approx(expected.tolist())
    label = data.val.labels[0]
    names = [name for name, applies in zip(NAMES, label, strict=True) if applies]
    assert facts["input"]["examples"][0]["label"] == (", ".join(names) or "no label")


def test_values_have_the_range_of_the_training_labels(value_demo):
    facts, labels = facts_of(value_demo), dataset("regression").train.labels
    assert facts["outputs"] == "values"
    assert facts["ranges"] == [labels.amin(0).tolist(), labels.amax(0).tolist()]


def test_arrays_without_columns_are_refused():
    x = np.arange(240, dtype=np.float32).reshape(40, 6)
    with pytest.raises(ConfigError, match=r"arrays of shape \[6\]\. Pass columns="):
        Demo([], Dataset.from_arrays(x[:30], np.arange(30) % 2, x[30:], np.arange(10) % 2))


# In a browser -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.mark.slow
def test_a_row_is_filled_in_and_changed(browser, demo):
    with open_page(browser, demo) as page:
        assert page.locator("#note").inner_text() == "The teacher is an estimator."
        assert page.locator(".model h2").all_inner_texts() == ["Control", "Student"]
        wait_until(page, lambda: "–" not in tops(page))
        page.get_by_label("age", exact=True).fill("1.5")
        page.get_by_label("colour", exact=True).select_option("blue")
        wait_until(page, lambda: tops(page) == ["1", "0"])
        assert page.locator(".control .bar small").all_inner_texts() == ["38 %", "62 %"]
        page.get_by_label("age", exact=True).fill("many")
        wait_until(page, lambda: page.locator("#error").is_visible())
        assert "age: 'many' is not a number" in page.locator("#error").inner_text()
        assert page.get_by_label("age", exact=True).get_attribute("aria-invalid") == "true"
        assert tops(page) == ["–"] * 2
        page.locator("#clear-row").click()
        wait_until(page, lambda: "–" not in tops(page))
        assert page.locator("#error").is_hidden()
        assert page.get_by_label("age", exact=True).get_attribute("aria-invalid") is None


@pytest.mark.slow
def test_labels_are_shown_with_their_thresholds(browser, label_demo):
    with open_page(browser, label_demo) as page:
        page.get_by_label("age", exact=True).fill("-1")
        page.get_by_label("colour", exact=True).select_option("blue")
        page.get_by_label("income", exact=True).fill("1e6")
        wait_until(page, lambda: tops(page) == ["blue, rich"] * 2)
        texts = page.locator(".student .bar small").all_inner_texts()
        assert texts[0].startswith("27 %, from "), "sigmoid of -1"
        page.get_by_label("Temperature").press("End")
        assert tops(page) == ["blue, rich"] * 2
        assert page.locator(".student .bar small").first.inner_text().startswith("49 %, from ")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_values_have_no_temperature(browser, value_demo, scheme):
    options = {"color_scheme": scheme, "viewport": {"width": 390, "height": 800}}
    with open_page(browser, value_demo, **options) as page:
        assert page.locator("#temperature").is_hidden()
        page.get_by_label("age", exact=True).fill("40.5")
        page.get_by_label("income", exact=True).fill("1234567")
        numbers = page.locator(".student .bar small")
        wait_until(page, lambda: numbers.all_inner_texts() == ["81", "2469000"])
        assert page.evaluate("document.documentElement.scrollWidth") <= 390

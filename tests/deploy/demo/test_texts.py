"""The demo of texts: a sentence in, the classes of all models out."""

import json

import pytest
import torch
from support.browser import open_browser
from support.demos import ask, models_of, open_page, request, served, tops, wait_until
from support.reviews import make_reviews, write_csv

from limbeck._base.errors import ConfigError
from limbeck.data import Dataset, Split, text_csv
from limbeck.data.padding import cut_padding
from limbeck.data.text.tokenizer import ByteTokenizer
from limbeck.deploy.demo import Demo
from limbeck.deploy.demo.texts import MAX_CHARACTERS, TextForm

LENGTH, BYTES = 60, ByteTokenizer()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    table = write_csv(folder / "reviews.csv", make_reviews(60))
    return text_csv(
        table, text="text", tokenizer="bytes", length=LENGTH, cache=folder / "cache", val=0.3
    )


def count(letter, other):
    """A model whose logits are the numbers of two letters."""
    return lambda x: torch.stack([(x == ord(letter)).sum(1), (x == ord(other)).sum(1)], 1).float()


@pytest.fixture(scope="module")
def demo(data):
    models = models_of(teacher=count("b", "g"), control=count("x", "y"), student=count("g", "b"))
    with served(models, data) as demo:
        yield demo


def test_a_sentence_is_answered_by_all_models(demo):
    status, answer = ask(demo, "/text", ["bbb gé"])
    assert status == 200
    assert answer == {"outputs": [[3, 1], [0, 0], [1, 3]], "tokens": 7, "is_cut": False}
    status, answer = ask(demo, "/text", ["b" * 100])
    assert answer == {"outputs": [[60, 0], [0, 0], [0, 60]], "tokens": LENGTH, "is_cut": True}


def test_examples_are_the_texts_of_the_validation_split(demo, data):
    facts = json.loads(request(demo, "GET", "/facts")[1])
    assert (facts["outputs"], facts["input"]["kind"]) == ("classes", "text")
    texts = {cut_padding(row, data.padding).numpy().tobytes() for row in data.val.inputs.split(1)}
    labels = set()
    for example in facts["input"]["examples"]:
        inputs = TextForm(data).read(json.dumps([example["text"]]).encode()).inputs
        assert inputs[0].numpy().tobytes() in texts
        labels.add(example["label"])
    assert labels == {"bad", "good"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the request is not valid JSON"),
        (b"\xff", "the request is not valid JSON"),
        (b"[" * 1000, "the request is not valid JSON"),
        (b'"a"', "expected a list of texts, 1 in number"),
        (b"[1]", "expected a list of texts, 1 in number"),
        (b'["a", "b"]', "expected a list of texts, 1 in number"),
        (b'[" "]', "the text is empty"),
        (json.dumps(["a" * (MAX_CHARACTERS + 1)]).encode(), "longer than 100,000 characters"),
    ],
)
def test_what_is_no_text_is_refused(demo, body, message):
    reply, content = request(demo, "POST", "/text", body)
    assert reply.status == 400
    assert message in json.loads(content)["error"]
    assert request(demo, "POST", "/image", b"x")[0].status == 404


def test_half_a_character_and_outputs_that_are_no_numbers_are_a_message(demo, data, monkeypatch):
    reply, _ = request(demo, "POST", "/text", b'["\\ud800"]')
    assert reply.status == 200
    monkeypatch.setattr(demo, "models", models_of(student=lambda x: torch.full((1, 2), torch.nan)))
    _, answer = ask(demo, "/text", ["a"])
    assert answer == {"error": "the outputs of the student for it are NaN or infinite"}


def test_language_models_are_for_another_command():
    ids = torch.arange(32).reshape(2, 16).int()
    splits = [Split(ids + shift, ids + shift + 1) for shift in range(3)]
    data = Dataset.from_splits("book", *splits, class_names=BYTES.names, tokenizer=BYTES)
    with pytest.raises(ConfigError, match="'limbeck sample' generates text"):
        Demo([], data)


# In a browser -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.mark.slow
def test_a_text_is_answered_while_it_is_typed(browser, demo):
    with open_page(browser, demo) as page:
        page.get_by_label("Text", exact=True).press_sequentially("bbb g")
        wait_until(page, lambda: tops(page) == ["bad", "bad", "good"])
        assert page.locator("#tokens").inner_text() == "The text has 5 tokens."
        shares = page.locator(".teacher .bar small")
        assert shares.all_inner_texts() == ["88 %", "12 %"], "softmax of 3 and 1"
        page.get_by_label("Temperature").press("End")
        assert shares.all_inner_texts() == ["52 %", "48 %"], "of 3 / 20 and 1 / 20"
        page.locator("#clear-text").click()
        assert tops(page) == ["–"] * 3
        page.locator("#text-examples button").first.click()
        wait_until(page, lambda: "–" not in tops(page))
        assert page.locator("#text-label").inner_text() == "True label: bad"
        page.get_by_label("Text", exact=True).fill("b" * 100)
        wait_until(page, lambda: "first 60 tokens" in page.locator("#tokens").inner_text())


@pytest.mark.slow
def test_the_page_of_texts_fits_on_a_phone(browser, demo):
    with open_page(browser, demo, viewport={"width": 390, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390

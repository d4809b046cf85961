"""The model card states facts of the run, and names in it are escaped."""

import re
from dataclasses import replace

import numpy as np
import pytest
from markdown_it import MarkdownIt

from limbeck._base.printable import printable
from limbeck.deploy.model_card import CardFacts, model_card
from limbeck.deploy.stage import Stage
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import Manifest
from limbeck.run.summary import read_summary

CODE = ("code_inline", "softbreak")
FACTS = CardFacts(
    arm="soft",
    seed=1,
    adjusted=None,
    is_user_choice=False,
    note="Soft_2 is worse.",
    stages=[Stage("student", 7, 0.0, 0), Stage("onnx int8", 8, 0.1, 2)],
    class_names=["square", "cross", "bar"],
    logits=np.eye(3)[[0, 1, 2, 0]],
    labels=np.array([0, 1, 2, 2]),
    temperature=1.5,
    thresholds={"5%": 0.4, "1%": 0.97},
)


@pytest.fixture(scope="module")
def summary(mlp_run):
    return read_summary(RunFolder(mlp_run))


def text(summary, manifest=None, **changes):
    return model_card(summary, manifest or Manifest(), replace(FACTS, **changes))


def test_the_card_of_a_bundle_describes_the_run(mlp_bundle, summary):
    card = (mlp_bundle / "model_card.md").read_text()
    for fact in (
        "# Model card: study, soft",
        "square, cross, bar",
        "120-12-3",
        "temperature 3",
        "| onnx int8 |",
        "TODO",
        "trained by knowledge distillation",
        "mistakes and biases of its teacher",
        "chosen on the validation split",
        summary.teacher.name,
        f"{summary.data.train:,} training samples",
        "**soft**",
    ):
        assert fact in card, fact


def test_errors_are_those_of_the_exported_student(summary):
    assert "It makes 7 errors on 200 test samples (accuracy 96.50 %)" in text(summary)
    assert "| bar | 2 | 50.0 % |" in text(summary)


def test_no_error_rate_without_covered_samples(summary):
    assert "| 0.99 | 0.0 % | – |" in text(summary)


def test_the_reason_for_a_control_is_on_the_card(summary):
    assert r"without the test split. Soft\_2 is worse." in text(summary)


def test_the_date_of_the_run_is_on_the_card(summary):
    assert " on 2026-01-31." in text(summary, Manifest(finished="2026-01-31T12:00:00+00:00"))


def test_the_card_of_a_control_does_not_claim_a_teacher(summary):
    card = text(summary, arm="hard", is_user_choice=True)
    assert "trained on labels" in card
    assert "trained by knowledge distillation" not in card
    assert "biases of its teacher" not in card
    assert "chosen by the person who exported it" in card


def test_constants_are_declared(summary):
    assert "`bias=prior`" in text(summary, adjusted="prior")


HOSTILE = (
    "[Sign in](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "<img src=x onerror=alert(1)>",
    "<https://evil.example>",
    "https://evil.example",
    "www.evil.example",
    "a@evil.example",
    "&lt;b&gt; | | cell",
    "**bold** _it_ `code` ~~gone~~",
    "`` ``` https://evil.example | x",
    "# heading",
    "- item",
    "1. item",
    "1) item",
    "\x1b[31mred\u202e",
    "a\nb",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_sentences_are_neither_markup_nor_links(summary, name):
    teacher = replace(summary.teacher, name=name)
    data = replace(summary.data, name=name.replace("/", ""))
    arms = tuple(replace(arm, student=name, transfer=name, views=name) for arm in summary.arms)
    foreign = replace(
        summary, recipe=name, teacher=teacher, data=data, arms=arms, warnings=(name, "harmless")
    )
    card = text(foreign, class_names=[name, "cross", name], note=name)
    assert card.replace("\n", "").isprintable()
    expected = text(replace(summary, warnings=("harmless", "harmless")))
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(card)
    plain = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(expected)
    assert [token.type for token in tokens] == [token.type for token in plain]
    spans = [span for token in tokens for span in token.children or ()]
    assert {span.type for span in spans} <= {"text", "strong_open", "strong_close", *CODE}
    for span in spans:
        assert span.type in CODE or not re.search("://|www|@", span.content)
    words = " ".join(printable(" ".join(name.split())).replace("|", "").split())
    content = "".join(span.content for span in spans).replace("\\|", "").replace("|", "")
    assert words in " ".join(content.split())


def test_names_cannot_add_markup_or_paths(summary):
    data = replace(summary.data, name="/home/somebody/secret")
    names = ["a\n\n# Approved\n| x", "cross", "bar"]
    card = text(replace(summary, data=data), class_names=names)
    assert "/home" not in card
    assert "\n# Approved" not in card
    assert "secret: " in card


def test_the_card_lists_the_confidences_that_guarantee_an_error_rate(summary):
    card = text(summary)
    assert "| at most 1 % | 0.970 | 0.0 % |" in card
    assert "| at most 5 % | 0.40 | 100.0 % |" in card
    assert "`--abstain 5%`" in card
    assert "at most 1 %" not in text(summary, thresholds={})

"""The demo of embeddings: a sentence in, the nearest validation texts of all models out."""

import json
from types import SimpleNamespace

import pytest
import torch
from support.browser import open_browser
from support.demos import ask, models_of, open_page, request, served, tops, wait_until
from support.sentence_encoders import write_encoder, write_texts

from limbeck.cli.main import main
from limbeck.data import sentences
from limbeck.deploy.demo import Demo
from limbeck.deploy.demo.neighbours import Neighbours
from limbeck.deploy.models_of_run import load_models

TEXTS = ["aab", "ab", "abb", "bb", "cc", "ccb"] * 6


def count(*letters):
    """A model whose vector has the number of each letter, and a little more."""
    return lambda x: torch.stack([(x == ord(letter)).sum(1) for letter in letters], 1) + 0.1


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "texts.txt").write_text("\n".join(f"{text} {n}" for n, text in enumerate(TEXTS)))
    cache = folder / "cache"
    return sentences(folder / "texts.txt", tokenizer="bytes", length=20, cache=cache, val=0.5)


@pytest.fixture(scope="module")
def demo(data):
    models = models_of(teacher=count("a", "b", "c"), control=count("b"), student=count("a", "c"))
    with served(models, data) as demo:
        yield demo


def texts_in(demo):
    return json.loads(request(demo, "GET", "/facts")[1])["texts"]


def cosine(one, other, letters):
    counts = [torch.tensor([text.count(k) + 0.1 for k in letters]) for text in (one, other)]
    return float(torch.nn.functional.cosine_similarity(*counts, dim=0))


def test_each_model_answers_with_the_texts_nearest_by_its_cosine(demo, data):
    facts = json.loads(request(demo, "GET", "/facts")[1])
    assert (facts["outputs"], facts["input"]["kind"]) == ("vectors", "text")
    assert len(facts["texts"]) == len(data.val)
    status, answer = ask(demo, "/text", ["aaab"])
    assert status == 200
    for neighbours, letters in zip(answer["outputs"], ("abc", "b", "ac"), strict=True):
        assert len(neighbours) == facts["neighbours"]
        expected = sorted((cosine("aaab", text, letters) for text in facts["texts"]), reverse=True)
        assert [value for _, value in neighbours] == pytest.approx(expected[:10], abs=1e-4)
        for row, value in neighbours:
            assert value == pytest.approx(cosine("aaab", facts["texts"][row], letters), abs=1e-4)


def test_a_validation_text_is_no_neighbour_of_itself(demo):
    texts = texts_in(demo)
    _, answer = ask(demo, "/text", [texts[3]])
    assert all(row != 3 for neighbours in answer["outputs"] for row, _ in neighbours)


def test_copies_of_a_text_leave_a_shorter_list(data):
    texts = data.val.inputs[:5].clone()
    texts[:4] = texts[0]
    few = SimpleNamespace(
        val=SimpleNamespace(inputs=texts), padding=data.padding, tokenizer=data.tokenizer
    )
    (model,) = models_of(student=count("a", "b"))
    neighbours = Neighbours([model], few)
    text = texts[:1]
    ((answer,),) = [neighbours.of(text, [model.logits(text)[0]])]
    assert [row for row, _ in answer] == [4]


def test_a_run_of_embeddings_is_shown_with_its_teacher(tmp_path, monkeypatch, capsys):
    write_encoder(tmp_path / "encoder")
    write_texts(tmp_path / "texts.csv")
    monkeypatch.chdir(tmp_path)
    settings = ["data=sentences", "data.path=texts.csv", "teacher.from=encoder", "student.width=8"]
    assert main(["run", *settings, "seeds=1", "epochs=1", "out=run", "data.length=24"]) == 0
    models, note = load_models("run")
    assert ([model.role for model in models], note) == (["teacher", "control", "student"], "")
    assert models[0].description == "bert-2x16, 10,256 parameters"
    assert " of 10 neighbours in the test split" in models[2].description
    demos = []
    monkeypatch.setattr(Demo, "serve", lambda demo: demos.append(demo))
    assert main(["demo", "run"]) == 0
    texts = [json.loads(demo.facts)["texts"] for demo in demos]
    assert texts[0]
    assert not any("[CLS]" in text for text in texts[0]), "special tokens are added when it is sent"
    assert "Open http://127.0.0.1:" in capsys.readouterr().out


# In a browser -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_lists_the_texts_and_marks_those_of_the_teacher(demo):
    with open_browser() as browser, open_page(browser, demo) as page:
        page.get_by_label("Text", exact=True).fill("aaab")
        wait_until(page, lambda: "–" not in tops(page))
        titles = tops(page)
        assert titles[0] == "nearest texts"
        _, answer = ask(demo, "/text", ["aaab"])
        rows = [{row for row, _ in neighbours} for neighbours in answer["outputs"]]
        assert titles[1:] == [f"{len(own & rows[0])} of the teacher's 10" for own in rows[1:]]
        texts = page.locator(".student .bar span").all_inner_texts()
        assert texts == [texts_in(demo)[row] for row, _ in answer["outputs"][2]]
        bold_texts = page.locator(".student .bar.best span").all_inner_texts()
        assert len(bold_texts) == len(rows[2] & rows[0])
        assert not page.locator("#slider").is_visible()


@pytest.mark.slow
def test_the_page_of_embeddings_fits_on_a_phone(demo):
    options = {"viewport": {"width": 390, "height": 800}}
    with open_browser() as browser, open_page(browser, demo, **options) as page:
        page.get_by_label("Text", exact=True).fill("ab " * 6)
        wait_until(page, lambda: "–" not in tops(page))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390

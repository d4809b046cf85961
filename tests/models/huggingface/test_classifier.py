"""Classifiers of texts of transformers, from settings and from folders."""

import json

import pytest
import torch
from support.encoders import (
    CLASSES,
    KINDS,
    LENGTH,
    PADDING,
    VOCABULARY,
    new_classifier,
    texts_of,
    write_bert,
)
from support.huggingface_models import rewrite

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.data.text.library_tokenizer import load_tokenizer
from limbeck.models import HuggingFaceClassifier, OutputMap, load_model, save_model
from limbeck.models.huggingface.classifier import load_text_classifier
from limbeck.models.huggingface.texts import Texts

transformers = pytest.importorskip("transformers")

SHORT, LONG = 5, LENGTH
TEXTS = Texts((LENGTH,), VOCABULARY, PADDING)


def loaded(folder, **settings):
    options = {"vocabulary": VOCABULARY, "padding": PADDING} | settings
    return HuggingFaceClassifier((LENGTH,), options.pop("classes", CLASSES), path=folder, **options)


def saved(folder, kind="bert", **settings):
    model = new_classifier(kind, **settings)
    model.net.save_pretrained(folder)
    return model


@torch.no_grad()
def answer(model, ids):
    return model.eval()(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_alone_and_in_a_long_batch_has_the_same_answer(kind):
    model, texts = new_classifier(kind), texts_of(SHORT, LONG)
    together = answer(model, texts)
    torch.testing.assert_close(answer(model, texts[:1, :SHORT]), together[:1])
    torch.testing.assert_close(answer(model, texts[1:]), together[1:])
    assert together.shape == (2, CLASSES)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


@pytest.mark.parametrize("kind", ["bert", "modernbert", "gpt2"])
def test_a_folder_answers_as_transformers_does(tmp_path, kind):
    saved(tmp_path, kind)
    texts = texts_of(SHORT, LONG)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        logits = theirs(input_ids=texts, attention_mask=(texts != PADDING).long()).logits
    model, names = load_text_classifier(tmp_path, TEXTS)
    torch.testing.assert_close(answer(model, texts), logits)
    assert names is None
    assert not model.training


def test_the_names_of_the_classes_are_those_of_the_folder(tmp_path):
    saved(tmp_path)
    rewrite(tmp_path / "config.json", id2label={"0": "calm", "1": "glad", "2": "sad"})
    assert load_text_classifier(tmp_path, TEXTS)[1] == [
        "calm",
        "glad",
        "sad",
    ]


def test_a_padding_of_the_data_that_the_model_lacks_becomes_its_own(tmp_path):
    own = saved(tmp_path, pad_token_id=0)
    texts = texts_of(SHORT, LONG)
    other = loaded(tmp_path, vocabulary=VOCABULARY + 1, padding=VOCABULARY)
    ids = texts.masked_fill(texts == PADDING, VOCABULARY)
    torch.testing.assert_close(answer(other, ids), answer(own, texts))


def test_a_saved_classifier_is_rebuilt_and_transformers_loads_it(tmp_path):
    model = new_classifier()
    save_model(model, tmp_path, class_names=list("abc"))
    texts = texts_of(SHORT, LONG)
    rebuilt = load_model(tmp_path).model
    torch.testing.assert_close(answer(rebuilt, texts), answer(model, texts))
    assert rebuilt.name == "bert-4x16"
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert theirs.num_labels == CLASSES


def test_settings_that_transformers_does_not_know_are_not_saved(tmp_path):
    saved(tmp_path)
    rewrite(tmp_path / "config.json", gradient_checkpointing=False, n_extra=3)
    save_model(loaded(tmp_path), tmp_path / "copy", class_names=list("abc"))
    load_model(tmp_path / "copy")


def test_training_starts_from_an_encoder_with_a_new_head(tmp_path):
    model = saved(tmp_path)
    model.net.base_model.save_pretrained(tmp_path / "encoder")
    for folder, classes in ((tmp_path / "encoder", CLASSES), (tmp_path, 5)):
        torch.manual_seed(1)
        tuned = loaded(folder, classes=classes)
        assert answer(tuned, texts_of(LONG)).shape == (1, classes)
        weight = tuned.net.base_model.embeddings.word_embeddings.weight
        assert torch.equal(weight, model.net.base_model.embeddings.word_embeddings.weight)
        assert tuned.net.classifier.weight.std() < 0.05  # new, unlike that of the folder
        torch.manual_seed(1)
        again = loaded(folder, classes=classes)
        assert torch.equal(again.net.classifier.weight, tuned.net.classifier.weight)


def test_a_new_head_may_be_larger_than_that_of_the_folder(tmp_path, monkeypatch):
    saved(tmp_path)
    monkeypatch.setattr("limbeck.models.files.sizes.SMALL_MODEL", 0)
    loaded(tmp_path, classes=50)
    rewrite(tmp_path / "config.json", vocab_size=10**6)
    with pytest.raises(ConfigError, match="parameters in a file of"):
        loaded(tmp_path)


def test_an_encoder_without_a_head_is_no_teacher(tmp_path):
    saved(tmp_path).net.base_model.save_pretrained(tmp_path / "encoder")
    with pytest.raises(ConfigError, match=r"no classification head.*teacher\.model\.path="):
        load_text_classifier(tmp_path / "encoder", TEXTS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocabulary": 31}, "vocabulary has 30 entries but the data's has 31.*data.tokenizer"),
        ({"padding": 30}, "padding=30 should be from 0 to 29"),
        ({"vocabulary": 0}, "needs texts .L. of one class each"),
    ],
)
def test_data_that_does_not_fit_a_folder_is_refused(tmp_path, settings, message):
    saved(tmp_path)
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, **settings)


@pytest.mark.parametrize(("kind", "positions"), [("bert", LENGTH), ("roberta", LENGTH)])
def test_texts_longer_than_the_positions_are_refused(tmp_path, kind, positions):
    saved(tmp_path, kind)
    HuggingFaceClassifier((positions,), 3, vocabulary=VOCABULARY, padding=PADDING, path=tmp_path)
    with pytest.raises(ConfigError, match=rf"longer than the model's {positions} positions"):
        HuggingFaceClassifier(
            (positions + 1,), 3, vocabulary=VOCABULARY, padding=PADDING, path=tmp_path
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "vit"}, "no classifier of texts of model_type 'vit'.*such as bert"),
        ({"model_type": "brt"}, "Did you mean bert"),
        ({"quantization_config": {"bits": 4}}, "the weights are quantised"),
        ({"num_hidden_layers": 100_000}, "do not fit config"),
        ({"num_hidden_layers": 5}, "is missing"),
        ({"hidden_size": "a"}, "transformers cannot"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, changes, message):
    saved(tmp_path)
    rewrite(tmp_path / "config.json", **changes)
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path)


def test_a_model_that_padding_disturbs_is_refused():
    config = {"model_type": "fnet", "hidden_size": 16, "num_hidden_layers": 1}
    with pytest.raises(ConfigError, match="padding at the end of a text changes its answers"):
        HuggingFaceClassifier(
            (LENGTH,), CLASSES, vocabulary=VOCABULARY, padding=PADDING, config=config
        )


def test_code_in_a_folder_is_never_run(tmp_path):
    model = saved(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    evil = {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    rewrite(tmp_path / "config.json", auto_map=evil, trust_remote_code=True)
    texts = texts_of(LONG)
    torch.testing.assert_close(answer(loaded(tmp_path), texts), answer(model, texts))


def test_damaged_files_are_refused(tmp_path):
    saved(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[:-9])
    with pytest.raises(UntrustedFileError, match="damaged"):
        loaded(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps([]))
    with pytest.raises(UntrustedFileError):
        loaded(tmp_path)


def test_layers_are_taken_from_a_folder(tmp_path):
    model = saved(tmp_path)
    small = loaded(tmp_path, layers=[1, 3])
    assert small.name == "bert-2x16"
    ours, theirs = small.net.bert, model.net.bert
    for number, source in enumerate((1, 3)):
        for own, other in zip(
            ours.encoder.layer[number].parameters(),
            theirs.encoder.layer[source].parameters(),
            strict=True,
        ):
            assert torch.equal(own, other)
    assert torch.equal(ours.embeddings.LayerNorm.weight, theirs.embeddings.LayerNorm.weight)
    save_model(small, tmp_path / "small", class_names=list("abc"))
    texts = texts_of(SHORT)
    torch.testing.assert_close(
        answer(load_model(tmp_path / "small").model, texts), answer(small, texts)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_all_layers_of_a_teacher_answer_as_it_does(kind):
    teacher, texts = new_classifier(kind), texts_of(SHORT, LONG)

    def student(**settings):
        options = {"vocabulary": VOCABULARY, "padding": PADDING, "init": "teacher"} | settings
        return HuggingFaceClassifier((LENGTH,), CLASSES, teacher=teacher, **options)

    copy = student(layers=4)
    torch.testing.assert_close(answer(copy, texts), answer(teacher, texts))
    assert not {p.data_ptr() for p in copy.parameters()} & {
        p.data_ptr() for p in teacher.parameters()
    }
    half = student()
    assert half.net.config.num_hidden_layers == 2
    assert not torch.allclose(answer(half, texts), answer(teacher, texts), atol=1e-3)


def test_a_student_of_a_teacher_with_another_order_of_classes_has_a_new_head():
    teacher = OutputMap(new_classifier(), [2, 0, 1])
    student = HuggingFaceClassifier(
        (LENGTH,), CLASSES, vocabulary=VOCABULARY, padding=PADDING, init="teacher", teacher=teacher
    )
    assert student.net.classifier.weight.std() < 0.05
    embeddings = student.net.get_input_embeddings().weight
    assert torch.equal(embeddings, teacher.net.net.get_input_embeddings().weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 5}, "number from 1 to 4"),
        ({"layers": [3, 1]}, "ascending numbers from 0 to 3"),
        ({"layers": [1, 4]}, "ascending numbers from 0 to 3"),
        ({"layers": True}, "number from 1 to 4"),
        ({"init": "random"}, "init='random' should be teacher, or null"),
        ({"init": "teacher"}, "needs a teacher, but there is none"),
        ({"init": "teacher", "teacher": torch.nn.Linear(2, 2)}, "but the teacher is Linear"),
    ],
)
def test_layers_that_there_are_not_are_refused(tmp_path, settings, message):
    saved(tmp_path)
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, **settings)


TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ],
    "pair": [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 1}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 1}},
    ],
    "special_tokens": {
        "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
        "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
    },
}


@pytest.mark.parametrize(
    "processor", [None, TEMPLATE, {"type": "Sequence", "processors": [TEMPLATE]}]
)
def test_the_second_text_of_a_pair_has_the_type_that_transformers_gives_it(tmp_path, processor):
    tokenizers = pytest.importorskip("tokenizers")
    texts = [("a dog", "the cat sat"), ("cats", "a")]
    write_bert(tmp_path, [part for pair in texts for part in pair], ["no", "yes"], positions=LENGTH)
    if processor is not None:
        rewrite(tmp_path / "tokenizer.json", post_processor=processor)
    tokenizer = load_tokenizer(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs.enable_padding(length=LENGTH)
    encodings = theirs.encode_batch(texts)
    ids, _ = tokenizer.encode_texts(texts, LENGTH)
    ids = torch.from_numpy(ids).long()
    assert ids.tolist() == [encoding.ids for encoding in encodings]
    types = torch.tensor([encoding.type_ids for encoding in encodings])
    own = Texts((LENGTH,), tokenizer.padded_size, tokenizer.padding, tokenizer.separator)
    assert torch.equal(own.types(ids), types)
    net = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    mask = (ids != tokenizer.padding).long()
    with torch.no_grad():
        logits = net(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
    model, names = load_text_classifier(tmp_path, own)
    torch.testing.assert_close(answer(model, ids), logits)
    assert names == ["no", "yes"]
    save_model(model, tmp_path / "copy", class_names=names)
    torch.testing.assert_close(answer(load_model(tmp_path / "copy").model, ids), logits)


def test_single_texts_and_other_tokenizers_have_one_type():
    ids = torch.tensor([[2, 7, 8, 3, PADDING], [2, 7, 3, PADDING, PADDING]])
    assert not Texts((5,), VOCABULARY, PADDING, separator=3).types(ids).any()
    assert TEXTS.types(ids) is None

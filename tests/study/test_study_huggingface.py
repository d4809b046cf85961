"""Language models of Hugging Face as teacher and student of a study, made from settings: nothing is
downloaded.
"""

import json
import math
from functools import partial

import pytest
import torch
from support.markov import markov_text
from support.studies import make_study

from limbeck import Arm, Objective, Optimizer, Teacher
from limbeck._base.errors import ConfigError, ResourceError, TeacherError
from limbeck.data import text_file
from limbeck.models import GPT, HuggingFace, load_model

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

BLOCK = 16
ARMS = {
    "hard": Arm(objective=Objective(hard_weight=1.0, soft_weight=0.0)),
    "soft": Arm(objective=Objective(temperature=1.0)),
}
FAST = Optimizer(name="adamw", lr=0.02, schedule="one_cycle")


def gpt2(width):
    return partial(
        HuggingFace, config={"model_type": "gpt2", "n_embd": width, "n_layer": 1, "n_head": 1}
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    (folder / "chain.txt").write_text(markov_text("abcdef", 10_000, seed=2)[0])
    return folder


@pytest.fixture(scope="module")
def data(place):
    return text_file(place / "chain.txt", block=BLOCK, cache=place / "cache")


def study_of(data, out, **options):
    settings = {
        "student": gpt2(16),
        "teacher": Teacher(model=gpt2(32), epochs=2, batch_size=16, optimizer=FAST),
        "seeds": 2,
        "epochs": 1,
        "batch_size": 16,
        "optimizer": FAST,
        "store": {"folder": out.parent / "store", "kind": "sampled", "k": 3},
    }
    return make_study(data, ARMS, out, **{**settings, **options})


@pytest.fixture(scope="module")
def finished(data, place):
    return place / "run", study_of(data, place / "run").run()


def test_a_gpt2_learns_from_a_gpt2(finished):
    _, summary = finished
    assert summary.teacher.name == "gpt2-1x32"
    assert {arm.student for arm in summary.arms} == {"gpt2-1x16"}
    unigram = math.log2(6)
    assert all(
        0.5 < seed.test.bits_per_byte < unigram + 0.1 for arm in summary.arms for seed in arm.seeds
    )


def test_transformers_loads_the_models_of_a_run(finished, data):
    out, summary = finished
    test = data.open_test()
    for place, expected in (
        (out / "teacher", summary.teacher.test.nll),
        (out / "students" / "soft" / "seed1", summary.arms[1].seeds[1].test.nll),
    ):
        model = transformers.AutoModelForCausalLM.from_pretrained(place).eval()
        with torch.no_grad():
            logits = model(input_ids=test.inputs.long()).logits
        nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), test.labels.flatten().long())
        assert float(nll) == pytest.approx(expected, rel=1e-5)
        assert json.loads((place / "model.json").read_text())["builder"] == "huggingface"


def test_a_folder_of_transformers_teaches_a_gpt(finished, data, tmp_path):
    model = transformers.AutoModelForCausalLM.from_pretrained(finished[0] / "teacher")
    model.save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder" / "model.json").exists()
    student = partial(GPT, width=8, layers=1, heads=1)
    summary = study_of(
        data,
        tmp_path / "run",
        teacher=Teacher(source=[tmp_path / "folder"]),
        student=student,
    ).run()
    assert summary.teacher.test.nll == pytest.approx(finished[1].teacher.test.nll, rel=1e-5)


def test_a_teacher_may_have_a_padded_vocabulary(data, tmp_path):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=5000, n_positions=BLOCK, n_embd=16, n_layer=1, n_head=1
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "other")
    with pytest.raises(
        TeacherError, match=r"5,000 tokens but the dataset has 256, and there is no tokenizer\.json"
    ):
        study_of(data, tmp_path / "run", teacher=Teacher(source=[tmp_path / "other"])).check()
    config = transformers.GPT2Config(
        vocab_size=320, n_positions=BLOCK, n_embd=16, n_layer=1, n_head=1
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "padded")
    study = study_of(
        data, tmp_path / "run", teacher=Teacher(source=[tmp_path / "padded"]), epochs=1, seeds=1
    )
    study.run()
    teacher = load_model(tmp_path / "run" / "teacher").model
    assert teacher(torch.zeros(1, BLOCK, dtype=torch.int64)).shape == (1, BLOCK, 256)


def save_tokenizer(folder, pieces, size):
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(pieces, vocab_size=size, show_progress=False)
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer.get_vocab_size()


def test_tokens_are_compared_id_by_id(place, tmp_path):
    size = save_tokenizer(tmp_path / "own", [(place / "chain.txt").read_text()], 300)
    other = save_tokenizer(tmp_path / "other", ["other words than those of the chain " * 50], 300)
    data = text_file(
        place / "chain.txt", block=BLOCK, cache=place / "cache", tokenizer=tmp_path / "own"
    )
    assert data.classes == size
    for folder, entries in (("own", size), ("other", max(size, other))):
        config = transformers.GPT2Config(
            vocab_size=entries, n_positions=BLOCK, n_embd=16, n_layer=1, n_head=1
        )
        transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / folder)
    study_of(data, tmp_path / "run", teacher=Teacher(source=[tmp_path / "own"])).check()
    with pytest.raises(
        TeacherError, match=r"the same tokens in the same order.*data\.tokenizer=FOLDER"
    ):
        study_of(data, tmp_path / "run", teacher=Teacher(source=[tmp_path / "other"])).check()
    with pytest.raises(ConfigError, match="token"):
        study_of(
            data, tmp_path / "run", student=partial(HuggingFace, path=tmp_path / "other")
        ).check()


def test_a_name_on_the_hub_needs_a_network(data, tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with pytest.raises(
        ResourceError, match=r"could not be downloaded from the hub .*choose a local folder"
    ):
        study_of(data, tmp_path / "run", teacher=Teacher(source=["nobody/no-such-model"])).check()

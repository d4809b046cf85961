"""Students of texts in bundles: sentences in, classes out."""

import csv
import io
from functools import partial

import pytest
import torch
from support.deploy_runs import HARD, export
from support.reviews import make_reviews, write_csv
from support.studies import make_study

from limbeck import Arm
from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.file_names import CARD, TOKENIZER
from limbeck._base.runtime.predict import predict
from limbeck._base.runtime.verify import verify
from limbeck.data import text_csv
from limbeck.data.padding import cut_padding
from limbeck.models import BagOfEmbeddings, TextCNN, TextEncoder, load_model
from limbeck.run.folder import RunFolder

ROWS = make_reviews(300)
STUDENTS = {
    "bag": partial(BagOfEmbeddings, width=16),
    "cnn": partial(TextCNN, width=16, channels=16),
    "encoder": partial(TextEncoder, width=16),
}


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("texts")
    table = write_csv(folder / "reviews.csv", ROWS, ["review", "label"])
    data = text_csv(table, text="review", length=32, cache=folder / "cache")
    arms = {name: Arm(objective=HARD, student=student) for name, student in STUDENTS.items()}
    make_study(data, arms, folder / "run", teacher=None, seeds=1, epochs=4, batch_size=32).run()
    return data, folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize("arm", STUDENTS)
def test_a_bundle_predicts_what_the_student_does(text_run, arm, tmp_path):
    data, run = text_run
    bundle = export(run, data, arm=arm, seed=0, to=tmp_path / "bundle").folder
    assert (bundle / TOKENIZER).is_file()
    assert len(verify(bundle)) >= 2
    texts = [ROWS[int(row)][0] for row in data.open_test().sample_ids]
    table = write_csv(tmp_path / "new.csv", [(text, "x") for text in texts], ["review", "other"])
    out = io.StringIO()
    assert predict(bundle, [table], model="fp32", out=out) == 0
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    student = load_model(RunFolder(run).student(arm, 0)).model.eval()
    with torch.no_grad():
        logits = student(cut_padding(data.open_test().inputs, data.padding))
    assert [row["label"] for row in rows] == [data.class_names[k] for k in logits.argmax(1)]
    expected = (logits / Bundle(bundle).temperature).softmax(1).amax(1)
    confidences = torch.tensor([float(row["confidence"]) for row in rows])
    torch.testing.assert_close(confidences, expected, atol=1e-5, rtol=0)
    card = (bundle / CARD).read_text()
    assert "Texts; in a CSV file they are in review." in card
    assert "image" not in card
    assert '"tokenizers"' in (bundle / "sbom.cdx.json").read_text()

"""The control of a study is trained as transformers would: by a loop, and by its ``Trainer``."""

import csv
from functools import partial

import pytest
import torch
from support.encoders import SMALL, dataset_of_letters
from support.studies import make_study

from limbeck import Arm, Objective, Optimizer
from limbeck.data.study_data import StudyData
from limbeck.models import HuggingFaceClassifier, load_model
from limbeck.study.arms import build

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow

SEED, EPOCHS, SIZE = 3, 6, 32
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
CONFIG = {"model_type": "bert"} | SMALL | {"num_hidden_layers": 2} | NO_DROPOUT
student = partial(HuggingFaceClassifier, config=CONFIG)
OPTIMIZER = Optimizer(name="adamw", lr=0.01, weight_decay=0.01, schedule="linear")


@pytest.fixture(scope="module")
def data():
    return dataset_of_letters()


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("control") / "run"
    arms = {"hard": Arm(objective=Objective(hard_weight=1.0, soft_weight=0.0))}
    settings = {"seeds": [SEED], "epochs": EPOCHS, "batch_size": SIZE, "optimizer": OPTIMIZER}
    make_study(data, arms, out, student=student, **settings).run()
    return out


def batches_of(data):
    """The batches of all epochs, as a network of transformers takes them."""
    batches = StudyData(data, seeds=[SEED], batch_size=SIZE)
    for epoch in range(EPOCHS):
        batches.set_epoch(epoch)
        for batch in batches.train_batches(torch.device("cpu")):
            ids, labels = batch.x[0].long(), batch.y[0]
            mask = (ids != data.padding).long()
            yield {"input_ids": ids, "attention_mask": mask, "labels": labels}


def optimizer_of(net):
    return torch.optim.AdamW(net.parameters(), lr=OPTIMIZER.lr, weight_decay=OPTIMIZER.weight_decay)


def check_control(run, net, losses, data):
    """Compare the losses of each step and the trained network with those of the study."""
    with (run / "metrics.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    curve = [float(row["value"]) for row in rows if row["metric"] == "train_loss"]
    means = torch.tensor(losses).view(EPOCHS, -1).mean(1).tolist()
    assert means[-1] < 0.9 * means[0]
    assert curve == pytest.approx(means, abs=1e-4)
    trained = load_model(run / "students" / "hard" / f"seed{SEED}").model
    ids = data.open_test().inputs.long()
    with torch.no_grad():
        logits = net.eval()(input_ids=ids, attention_mask=(ids != data.padding).long()).logits
        torch.testing.assert_close(trained(ids), logits, rtol=1e-3, atol=1e-3)


def test_training_is_that_of_a_plain_loop_of_transformers(data, run):
    """The same order, loss of transformers, optimizer and schedule give the same weights."""
    net = build(student, data, SEED).net.train()
    batches = list(batches_of(data))
    optimizer = optimizer_of(net)
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, -(-len(batches) // 10), len(batches)
    )
    losses = []
    for batch in batches:
        loss = net(**batch).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    check_control(run, net, losses, data)


def test_training_is_that_of_a_trainer_of_transformers(data, run, tmp_path):
    pytest.importorskip("accelerate", reason="a Trainer of transformers needs accelerate")
    batches = list(batches_of(data))

    class Ordered(transformers.Trainer):
        def get_train_dataloader(self):
            return batches

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=len(batches),
        learning_rate=OPTIMIZER.lr,
        lr_scheduler_type="linear",
        warmup_steps=-(-len(batches) // 10),
        max_grad_norm=0,
        logging_steps=1,
        seed=SEED,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    net = build(student, data, SEED).net
    optimizers = optimizer_of(net), None
    trainer = Ordered(net, arguments, train_dataset=batches, optimizers=optimizers)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    check_control(run, net, losses, data)

"""Training and distilling in one call, with one's own models and loaders."""

import pytest
import torch
from support.plain_loop import far, same, train_alone
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import limbeck
from limbeck._base.errors import ConfigError, DivergedError, TeacherError

CLASSES = 4


class Conv(nn.Module):
    """A user's own class for images."""

    def __init__(self, width, dropout=0.0):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width * 16, CLASSES)

    def forward(self, x):
        return self.head(self.dropout(self.conv(x).relu().flatten(1)))


def image_net(seed, width=3, **options):
    torch.manual_seed(seed)
    return Conv(width, **options)


def flat_net(seed, width=6):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, CLASSES))


@pytest.fixture(params=["image", "flat"])
def kind(request):
    """How inputs look, and a model for them."""
    return (image_net, (1, 4, 4)) if request.param == "image" else (flat_net, (16,))


def samples(shape, count=60):
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(count, *shape, generator=draw)
    return x, (x.flatten(1) @ torch.randn(16, CLASSES, generator=draw)).argmax(1)


def as_list(x, y, size=16):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def test_the_three_lines(kind, capfd):
    net, shape = kind
    x, y = samples(shape)
    loader = DataLoader(TensorDataset(x, y), 16, shuffle=True)
    teacher = limbeck.train(net(0, 16), loader, epochs=40, lr=0.01, progress=False)
    student = limbeck.distill(net(1), teacher, loader, epochs=30, lr=0.01, progress=False)
    result = limbeck.evaluate(student, loader)
    assert result["total"] == 60
    assert result["errors"] + result["correct"] == 60
    assert result["accuracy"] > 0.7
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "temperature": 3.0,
            "hard_weight": 0.2,
            "soft_weight": 0.8,
            "soft": "cross_entropy",
            "scale_by_t2": False,
        },
        {"temperature": 1.0, "hard_weight": 0.0, "soft_weight": 1.0},
        {"soft": "logits"},
        {"soft": "probabilities", "temperature": 2.0},
    ],
)
def test_distilling_equals_a_hand_written_loop(kind, settings):
    net, shape = kind
    x, y = samples(shape)
    teacher, alone = net(0, 16), net(1)
    expected = train_alone(
        alone,
        as_list(x, y) * 5,
        lambda p: torch.optim.Adam(p, lr=0.01),
        teacher=teacher,
        **settings,
    )
    loaders = (as_list(x, y), tuple(as_list(x, y)), DataLoader(TensorDataset(x, y), 16))
    for loader in loaders:
        student = net(1)
        outputs = []
        student.register_forward_hook(
            lambda module, inputs, output, outputs=outputs: outputs.append(output.detach())
        )
        assert (
            limbeck.distill(student, teacher, loader, epochs=5, lr=0.01, progress=False, **settings)
            is student
        )
        assert len(outputs) == len(expected) == 20
        assert far(student, alone) < 1e-5


def test_training_equals_a_hand_written_loop(kind):
    net, shape = kind
    x, y = samples(shape)
    alone = net(1)
    train_alone(
        alone,
        as_list(x, y) * 4,
        lambda p: torch.optim.Adam(p, lr=1e-3),
        hard_weight=1.0,
        soft_weight=0.0,
    )
    student = limbeck.train(net(1), as_list(x, y), epochs=4, progress=False)
    assert far(student, alone) < 1e-5


def test_each_step_equals_the_hand_written_one():
    x, y = samples((16,))
    settings = {"temperature": 3.0, "hard_weight": 0.2, "soft_weight": 0.8, "soft": "cross_entropy"}
    for steps in range(1, 5):
        alone, student = flat_net(1), flat_net(1)
        batches = as_list(x, y)[:steps]
        train_alone(
            alone,
            batches,
            lambda p: torch.optim.SGD(p, lr=0.1),
            teacher=flat_net(0),
            scale_by_t2=False,
            **settings,
        )
        limbeck.distill(
            student,
            flat_net(0),
            batches,
            epochs=1,
            scale_by_t2=False,
            progress=False,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            **settings,
        )
        assert far(student, alone) < 1e-6


def test_optimizers_by_name_instance_function_and_settings():
    loader = as_list(*samples((16,)))

    def trained(optimizer, **options):
        model = flat_net(0)
        created = optimizer(model) if callable(optimizer) else optimizer
        return limbeck.train(model, loader, epochs=2, progress=False, optimizer=created, **options)

    plain = trained("sgd", lr=0.05)
    own = {"lr": 0.05, "momentum": 0.9, "nesterov": True}
    assert far(trained(lambda m: torch.optim.SGD(m.parameters(), **own)), plain) < 1e-6
    assert (
        far(trained(lambda m: lambda parameters: torch.optim.SGD(parameters, **own)), plain) < 1e-6
    )
    assert far(trained(lambda m: limbeck.Optimizer(name="sgd", lr=0.05)), plain) < 1e-6
    assert far(trained(None), trained("adam", lr=1e-3)) < 1e-6


@pytest.mark.parametrize("epochs", [0, -1, 1.5, True, "3", None])
def test_epochs_out_of_range_are_refused(epochs):
    with pytest.raises(ConfigError, match=r"epochs=.* whole number of at least 1"):
        limbeck.train(flat_net(0), as_list(*samples((16,))), epochs=epochs, progress=False)


def test_an_iterator_is_refused():
    loader = as_list(*samples((16,)))
    for once in (iter(loader), (batch for batch in loader), zip(*samples((16,)), strict=True)):
        with pytest.raises(
            ConfigError,
            match=r"The loader can be read only once \(it is an iterator\); give a list",
        ):
            limbeck.train(flat_net(0), once, epochs=1, progress=False)
    with pytest.raises(ConfigError, match="val_loader can be read only once"):
        limbeck.train(flat_net(0), loader, epochs=1, progress=False, val_loader=iter(loader))


@pytest.mark.parametrize("loader", [[], None, 3])
def test_a_loader_without_batches_is_refused(loader):
    with pytest.raises(ConfigError, match="loader"):
        limbeck.train(flat_net(0), loader, epochs=1, progress=False)


def test_an_iterable_without_a_length_will_do():
    batches = as_list(*samples((16,)))

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(batches)

    class Plain:
        def __iter__(self):
            return iter(batches)

    expected = limbeck.train(flat_net(0), batches, epochs=2, progress=False)
    for loader in (DataLoader(Stream(), batch_size=None), Plain()):
        assert far(limbeck.train(flat_net(0), loader, epochs=2, progress=False), expected) < 1e-6


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"lr": 0.1, "optimizer": lambda p: torch.optim.SGD(p, lr=1.0)},
            ConfigError,
            "lr is only valid with the name",
        ),
        (
            {"lr": 0.1, "optimizer": limbeck.Optimizer()},
            ConfigError,
            "lr is only valid with the name",
        ),
        ({"lr": 0.0}, ConfigError, "optimizer.lr"),
        ({"lr": float("inf")}, ConfigError, "optimizer.lr"),
        (
            {"optimizer": "adamm"},
            ConfigError,
            "optimizer.name='adamm' is unknown; choose one of adam, adamw, sgd",
        ),
        ({"optimizer": 3}, ConfigError, "should be a name, an optimizer or a function"),
        ({"temperature": 0.0}, ConfigError, "temperature"),
        ({"hard_weight": 0.0, "soft_weight": 0.0}, ConfigError, "both 0"),
        ({"soft": "l1"}, ConfigError, "objective.soft='l1' is unknown"),
        ({"trainer": {"max_epoch": 3}}, ConfigError, "Did you mean `trainer.max_epochs`"),
        ({"trainer": {"callbacks": []}}, ConfigError, "set by limbeck itself"),
        ({"trainer": {"gradient_clip_val": -1}}, ConfigError, "should be a number, not negative"),
        ({"trainer": {"precision": "7"}}, ConfigError, "refuses these options"),
    ],
)
def test_arguments_out_of_range_are_refused(options, error, message):
    student = flat_net(1)
    with pytest.raises(error, match=message):
        limbeck.distill(
            student, flat_net(0), as_list(*samples((16,))), epochs=1, progress=False, **options
        )
    assert same(student, flat_net(1))


def test_a_teacher_of_other_classes_is_refused():
    with pytest.raises(TeacherError, match="teacher has 3 classes and the student 4"):
        limbeck.distill(
            flat_net(0), nn.Linear(16, 3), as_list(*samples((16,))), epochs=1, progress=False
        )


def test_divergence_is_told():
    with pytest.raises(DivergedError, match="the student was"):
        limbeck.train(
            flat_net(0),
            as_list(*samples((16,))),
            epochs=3,
            progress=False,
            optimizer=lambda p: torch.optim.SGD(p, lr=1e30),
        )


def test_modes_and_devices_afterwards():
    loader = as_list(*samples((1, 4, 4)))
    teacher, student = image_net(0, 8).train(), image_net(1)
    before = image_net(0, 8)
    limbeck.distill(student, teacher, loader, epochs=2, progress=False, val_loader=loader)
    assert same(teacher, before)
    assert all(p.requires_grad and p.grad is None for p in teacher.parameters())
    assert not teacher.training
    assert all(m.training for m in student.modules())
    assert {p.device.type for p in (*student.parameters(), *teacher.parameters())} == {"cpu"}
    limbeck.evaluate(student, loader)
    assert student.training


def test_a_student_handed_over_in_eval_mode_is_trained_in_train_mode():
    loader = as_list(*samples((1, 4, 4)))
    trained = []
    for mode in (True, False):
        student = image_net(1, dropout=0.5).train(mode)
        torch.manual_seed(0)
        trained.append(limbeck.train(student, loader, epochs=2, progress=False))
    assert same(*trained)


def test_a_frozen_part_stays_in_the_mode_it_was_given():
    loader = as_list(*samples((16,)))
    student = nn.Sequential(nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, CLASSES))
    student[1].eval()
    limbeck.train(student, loader, epochs=2, progress=False)
    assert student[1].num_batches_tracked == 0
    assert not student[1].training


def test_progress_goes_to_standard_error(capfd):
    loader = as_list(*samples((16,)))
    limbeck.train(flat_net(0), loader, epochs=2, val_loader=loader)
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("train: 100 % after")
    assert "validation error" in err


def test_options_reach_the_trainer():
    loader = as_list(*samples((16,)))
    once = limbeck.train(flat_net(0), loader, epochs=1, progress=False)
    assert (
        far(
            limbeck.train(flat_net(0), loader, epochs=5, progress=False, trainer={"max_epochs": 1}),
            once,
        )
        < 1e-7
    )
    still = limbeck.train(
        flat_net(0),
        loader,
        epochs=1,
        progress=False,
        optimizer="sgd",
        lr=1.0,
        trainer={"gradient_clip_val": 1e-9},
    )
    assert far(still, flat_net(0)) < 1e-6


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "bf16-mixed"])
def test_a_float32_teacher_answers_under_any_precision(precision):
    student, teacher = flat_net(0), flat_net(1)
    options = {"precision": precision, "accelerator": "cpu"}
    limbeck.distill(
        student, teacher, as_list(*samples((16,))), epochs=1, progress=False, trainer=options
    )
    assert all(p.isfinite().all() for p in student.parameters())
    assert {p.dtype for p in teacher.parameters()} == {torch.float32}


@pytest.mark.parametrize("switch", [torch.no_grad, torch.inference_mode])
def test_a_caller_may_have_switched_gradients_off(switch):
    loader = as_list(*samples((16,)))
    one, other = flat_net(0), flat_net(0)
    limbeck.distill(one, flat_net(1), loader, epochs=1, progress=False)
    with switch():
        limbeck.distill(other, flat_net(1), loader, epochs=1, progress=False)
    assert same(one, other)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ("resnet18", flat_net(1), "The student should be a torch.nn.Module; got str."),
        (flat_net(0), nn.Linear, "The teacher is the class Linear; expected a torch.nn.Module"),
    ],
)
def test_a_model_that_is_no_module_is_refused(student, teacher, message):
    loader = as_list(*samples((16,)))
    with pytest.raises(ConfigError, match=message):
        limbeck.distill(student, teacher, loader, epochs=1, progress=False)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (lambda parameters: None, "optimizer returned NoneType"),
        (torch.optim.LBFGS, "LBFGS evaluates a batch several times"),
    ],
)
def test_an_optimizer_that_cannot_be_stepped_is_refused(optimizer, message):
    loader = as_list(*samples((16,)))
    with pytest.raises(ConfigError, match=message):
        limbeck.train(flat_net(0), loader, epochs=1, optimizer=optimizer, progress=False)


def test_a_teacher_that_changes_its_inputs_leaves_the_students_alone():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = flat_net(1)

        def forward(self, x):
            return self.net(x.mul_(0.0))

    class Recording(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.records = flat_net(0), []

        def forward(self, x):
            self.records.append(x.clone())
            return self.net(x)

    x, y = samples((16,))
    student = Recording()
    limbeck.distill(student, InPlace(), [(x.clone(), y)], epochs=1, progress=False)
    assert torch.equal(student.records[0].flatten(0, -2), x)

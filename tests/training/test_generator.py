import math

import pytest
import torch

from limbeck._base.errors import ConfigError, DivergedError, LimbeckWarning, TeacherError
from limbeck._base.progress import StageProgress
from limbeck.data.sources.noise import StrokeNoise, UniformNoise
from limbeck.models import MLP, ConvNet
from limbeck.teacher.signal import LiveTeacher
from limbeck.training import generator_checkpoint
from limbeck.training.generator import AdversarialTraining, Generated, Generator
from limbeck.training.generator_losses import statistics_of

SILENT = StageProgress(enabled=False)
SHAPE = (1, 8, 8)


def teacher(seed=0):
    """A small network with BatchNorm layers that remember something."""
    torch.manual_seed(seed)
    model = ConvNet(SHAPE, 4, channels=(8, 16), strides=(1, 2), dropout=0.5)
    for _ in range(20):
        model(torch.rand(64, *SHAPE))
    model.head[-1].weight.data.mul_(8)  # a trained teacher can be certain
    return LiveTeacher(model.eval())


def images_of(source, signal, shape=SHAPE):
    return source.make(shape=shape, classes=4, teacher=signal, progress=SILENT)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 5, 7)])
def test_images_of_any_size(shape):
    generator, noise = Generator(shape[0]), torch.rand(4, *shape).round()
    assert torch.allclose(generator(noise), noise, atol=0.01)  # at first
    for parameter in generator.parameters():
        parameter.data += 0.3
    images = generator(noise)
    assert images.shape == (4, *shape)
    assert bool(((images >= 0) & (images <= 1)).all())
    assert not torch.allclose(images, noise, atol=0.1)


@pytest.mark.parametrize("name", ["certainty", "balance", "statistics"])
def test_each_loss_falls(name):
    torch.manual_seed(0)
    brightness = MLP(SHAPE, 4, hidden=[])  # a bright image is certain, a dark one even
    brightness.layers[-1].weight.data[:] = torch.arange(4).view(-1, 1) * 0.03
    weights = dict.fromkeys(("certainty", "balance", "statistics", "disagreement"), 0.0) | {
        name: 1.0
    }
    models = teacher().models if name == "statistics" else [brightness]
    training = AdversarialTraining(
        models, SHAPE, 4, Generated(lr=0.01, **weights), torch.device("cpu")
    )
    with statistics_of(training.models) as terms:
        steps = [training.step(terms)[name] for _ in range(10)]
    assert sum(steps[-3:]) < 0.8 * sum(steps[:3])


def test_the_same_images_again_of_all_stages_of_the_training():
    signal, source = teacher(), Generated(samples=105, steps=6)
    torch.manual_seed(1)
    images = images_of(source, signal)
    assert images.dtype == torch.uint8
    assert images.shape == (105, *SHAPE)
    plain = images_of(StrokeNoise(samples=53), None)
    assert torch.equal(images[:53], plain)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(images, images_of(source, signal))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(images, images_of(Generated(samples=105, steps=6, seed=1), signal))
    assert not torch.equal(images, images_of(source, teacher(seed=1)))
    assert not torch.equal(
        images, images_of(Generated(samples=105, steps=6, start=UniformNoise()), signal)
    )


def test_fewer_steps_than_stages_and_few_samples():
    assert len(images_of(Generated(samples=7, steps=3), teacher())) == 7


def test_the_teacher_is_left_as_it_was():
    signal = teacher()
    model = signal.models[0].train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images_of(Generated(samples=10, steps=3), signal)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_teachers_without_batch_norm_and_ensembles():
    members = [MLP(SHAPE, 4, hidden=[16]), teacher().models[0]]
    assert (
        len(images_of(Generated(samples=20, steps=2, disagreement=0), LiveTeacher(members[:1])))
        == 20
    )
    assert len(images_of(Generated(samples=20, steps=2), LiveTeacher(members))) == 20


def test_losses_that_are_no_numbers_stop_it():
    signal = teacher()
    signal.models[0].head[-1].bias.data.fill_(math.nan)
    with pytest.raises(
        DivergedError, match=r"step 1 of 3. Use a smaller transfer.source.lr than 0.002"
    ):
        images_of(Generated(samples=10, steps=3), signal)
    assert not any(module._forward_pre_hooks for module in signal.models[0].modules())


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"steps": 0}, "transfer.source.steps=0 should be a whole number"),
        ({"balance": -1.0}, "transfer.source.balance=-1.0 should be a finite number, not negative"),
        ({"start": "uniform"}, "transfer.source.start='uniform' should be noise"),
        ({"lr": 0.0}, "transfer.source.lr=0 learns nothing"),
    ],
)
def test_wrong_settings_are_named(settings_, message):
    with pytest.raises(ConfigError, match=message):
        Generated(**settings_)


def test_what_a_generator_cannot_do_without():
    with pytest.raises(
        ConfigError, match=r"makes images \[C, H, W\], but the data has inputs of shape \[64\]"
    ):
        images_of(Generated(samples=5, steps=1), teacher(), shape=(64,))
    with pytest.raises(TeacherError, match="the study has none"):
        images_of(Generated(samples=5, steps=1), None)


def test_a_quick_run_is_short():
    assert Generated(samples=5000, steps=900).small(2000) == Generated(samples=2000, steps=10)


class Stopped(BaseException):
    """A kill in the middle of a training."""


def test_a_generator_goes_on_from_its_checkpoint_bit_for_bit(tmp_path, monkeypatch):
    source = Generated(samples=40, steps=6)

    def make(folder=None):
        return source.make(
            shape=SHAPE, classes=4, teacher=teacher(), progress=SILENT, checkpoints=folder
        )

    whole = make()
    steps = []
    step = AdversarialTraining.step

    def stop(self, terms):
        steps.append(1)
        if len(steps) == 4:
            raise Stopped
        return step(self, terms)

    with monkeypatch.context() as patch:
        patch.setattr(generator_checkpoint, "SAVE_SECONDS", 0.0)
        patch.setattr(AdversarialTraining, "step", stop)
        with pytest.raises(Stopped):
            make(tmp_path)
        steps[:] = [0] * 10
        resumed = make(tmp_path)
    assert len(steps) == 10 + 6 - 3
    assert torch.equal(resumed, whole)
    file = tmp_path / "generator.ckpt"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.warns(LimbeckWarning, match=r"generator\.ckpt is damaged .* from the first step"):
        assert torch.equal(make(tmp_path), whole)

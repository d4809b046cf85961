"""Models of torchvision and timm by name, adapted to the data's channels, classes and size."""

import sys
import warnings
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.checks import did_you_mean
from limbeck._base.errors import ConfigError, LimbeckWarning, ResourceError

MAX_SMALL_SIDE = 64
"""Maximum side, in pixels, of images for which ResNets get the stem for small images."""
STEMS = ("auto", "small", "imagenet")


class TorchvisionModel(nn.Module):
    """A classification model of torchvision.

    The first convolution gets the channels of the data. For images of up to 64 x 64 pixels, ResNets
    get the stem of He et al. 2015 for CIFAR-10: a 3 x 3 convolution of stride 1 and no max-pooling.

    Args:
        shape: Shape of one image, channels first.
        classes: Number of classes.
        name: Name in ``torchvision.models.list_models()``.
        pretrained: Whether to start from torchvision's best ImageNet weights, which torchvision
            downloads. Weights of another shape are not loaded: the last layer for other classes,
            and a stem of another size.
        stem: Kind of stem: ``auto``, ``small`` or ``imagenet``.

    Raises:
        ConfigError: If the name is unknown, the inputs are not images, or the model has no small
            stem.
        ResourceError: If the weights could not be downloaded.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        name: str,
        pretrained: bool = False,
        stem: str = "auto",
    ):
        super().__init__()
        self.arguments = _arguments("torchvision", shape, classes, name, pretrained, stem)
        from torchvision.models import GoogLeNet, Inception3, VisionTransformer, get_model

        options: dict[str, Any] = {"num_classes": classes}
        if name in ("googlenet", "inception_v3"):
            options["aux_logits"] = False
        if name.startswith("vit_"):
            options["image_size"] = shape[-1]
        try:
            self.net = get_model(name, weights=None, **options)
        except (ValueError, RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"torchvision/{name} cannot be built for images of {list(shape)}: {error}"
            ) from None
        if isinstance(self.net, (GoogLeNet, Inception3)):
            self.net.transform_input = False  # inputs are already normalised
        elif isinstance(self.net, VisionTransformer) and shape[-1] != shape[-2]:
            raise ConfigError(
                f"torchvision/{name} needs square images, but the dataset has {shape[-2]} x "
                f"{shape[-1]}."
            )
        _fit_channels(self.net, shape[0])
        _fit_stem(self.net, shape, stem, f"torchvision/{name}")
        if pretrained:
            _fill_torchvision(self.net, name)
        self.net.to(memory_format=torch.channels_last)

    @property
    def name(self) -> str:
        """Name in torchvision."""
        return self.arguments["name"]

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of images ``[B, C, H, W]``, or flattened ones."""
        return self.net(_as_images(x, self.arguments["shape"]))


class TimmModel(nn.Module):
    """A model of timm (extra ``timm``).

    The first convolution gets the channels of the data. A model with a fixed image size is built
    for the size of the data. For images of up to 64 x 64 pixels, ResNets get the stem for small
    images, see :class:`TorchvisionModel`.

    Args:
        shape: Shape of one image, channels first.
        classes: Number of classes.
        name: Name in ``timm.list_models()``, optionally followed by a dot and the tag of weights.
        pretrained: Whether to start from the model's weights, downloaded by timm.
        stem: Kind of stem: ``auto``, ``small`` or ``imagenet``.

    Raises:
        ConfigError: If timm is not installed, the name is unknown, the inputs are not images, or
            the model has no small stem.
        ResourceError: If the weights could not be downloaded.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        name: str,
        pretrained: bool = False,
        stem: str = "auto",
    ):
        super().__init__()
        self.arguments = _arguments("timm", shape, classes, name, pretrained, stem)
        import timm

        options: dict[str, Any] = {"num_classes": classes, "in_chans": shape[0]}
        config = timm.get_pretrained_cfg(name)
        if (
            config is not None
            and config.fixed_input_size
            and tuple(config.input_size[-2:]) != tuple(shape[-2:])
        ):
            options["img_size"] = tuple(shape[-2:])
        try:
            self.net = timm.create_model(name, **options)
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"timm/{name} cannot be built for images of {list(shape)}: {error}"
            ) from None
        if pretrained:
            self.net = _pretrained_timm(name, options)
        _fit_stem(self.net, shape, stem, f"timm/{name}")
        self.net.to(memory_format=torch.channels_last)

    @property
    def name(self) -> str:
        """Name in timm."""
        return self.arguments["name"]

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of images ``[B, C, H, W]``, or flattened ones."""
        return self.net(_as_images(x, self.arguments["shape"]))


LIBRARIES: dict[str, type[TorchvisionModel] | type[TimmModel]] = {
    "torchvision": TorchvisionModel,
    "timm": TimmModel,
}


def check_name(library: str, name: Any) -> None:
    """Check that a library is installed and has a model.

    Raises:
        ConfigError: If the library is not installed, or has no model of that name.
    """
    if library == "timm":
        if find_spec("timm") is None:
            raise ConfigError(f"timm/{name} needs the package timm: pip install 'limbeck[timm]'.")
        import timm

        if isinstance(name, str) and timm.is_model(name):
            return
        names, function = timm.list_models(), "timm.list_models()"
    else:
        import torchvision

        names = torchvision.models.list_models(module=torchvision.models)
        function = "torchvision.models.list_models(module=torchvision.models)"
        if name in names:
            return
        task = _other_task(name)
        if task is not None:
            raise ConfigError(
                f"torchvision/{name} is a model for {task}, but limbeck trains classifiers. "
                f"{function} lists them."
            )
    hint = did_you_mean(str(name), names, f"{library}/{{}}")
    raise ConfigError(
        f"{library} has no classification model {name!r}.{hint} {function} lists them."
    )


def _other_task(name: Any) -> str | None:
    """Return the task of a torchvision model that is no classifier of images."""
    from torchvision import models

    tasks = {
        "segmentation": models.segmentation,
        "object detection": models.detection,
        "video": models.video,
        "optical flow": models.optical_flow,
        "quantized inference": models.quantization,
    }
    for task, module in tasks.items():
        if name in models.list_models(module=module):
            return task
    return None


def _arguments(
    library: str, shape: Sequence[int], classes: int, name: str, pretrained: bool, stem: str
) -> dict[str, Any]:
    """Check arguments, and return those that rebuild a saved model.

    ``pretrained`` is left out, since a saved model has its own weights.
    """
    check_name(library, name)
    if len(shape) != 3:
        raise ConfigError(
            f"{library}/{name} needs images [C, H, W], but the dataset has inputs of shape "
            f"{list(shape)}."
        )
    if not isinstance(pretrained, bool):
        raise ConfigError(f"pretrained={pretrained!r} should be true or false.")
    if stem not in STEMS:
        raise ConfigError(f"stem={stem!r} is unknown; choose one of {', '.join(STEMS)}.")
    return {"shape": list(shape), "classes": classes, "name": name, "stem": stem}


def _as_images(x: Tensor, shape: Sequence[int]) -> Tensor:
    return x.reshape(x.shape[0], *shape).contiguous(memory_format=torch.channels_last)


# Fitting ------------------------------------------------------------------------------------------


def _fit_channels(net: nn.Module, channels: int) -> None:
    """Replace the first convolution by one with this number of input channels."""
    name = _first_convolution(net)
    first = net.get_submodule(name)
    assert isinstance(first, nn.Conv2d)
    if first.in_channels == channels:
        return
    shape: dict[str, Any] = {
        "kernel_size": first.kernel_size,
        "stride": first.stride,
        "padding": first.padding,
    }
    replacement = nn.Conv2d(channels, first.out_channels, **shape, bias=first.bias is not None)
    _initialise(replacement)
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, replacement)


def _first_convolution(net: nn.Module) -> str:
    """Return the path of the first convolution."""
    return next(name for name, part in net.named_modules() if isinstance(part, nn.Conv2d))


def _fit_stem(net: nn.Module, shape: Sequence[int], stem: str, name: str) -> None:
    """Give a ResNet the stem for small images, or warn about small images without it."""
    small_images = min(shape[-2:]) <= MAX_SMALL_SIDE
    if _is_resnet(net) and (stem == "small" or (stem == "auto" and small_images)):
        norm: Any = net.bn1
        net.conv1 = nn.Conv2d(shape[0], norm.num_features, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
        _initialise(net.conv1)
    elif stem == "small":
        raise ConfigError(
            f"stem=small: {name} is not a ResNet, and only ResNets have a stem for small images. "
            "Use auto."
        )
    elif small_images:
        remedy = "Use larger images (data.size)"
        if _is_resnet(net):
            remedy = "Use stem=auto for the stem for small images"
        _warn(
            f"{name} has a stem for images of 224 x 224, but the images have {shape[-2]} x "
            f"{shape[-1]}. This can cost several points of accuracy. {remedy}."
        )


@cache
def _warn(text: str) -> None:
    """Warn once, however many students are built."""
    warnings.warn(text, LimbeckWarning, stacklevel=2)


def _is_resnet(net: nn.Module) -> bool:
    from torchvision.models import ResNet

    return isinstance(net, ResNet) or (
        type(net).__module__ == "timm.models.resnet" and hasattr(net, "maxpool")
    )


def _initialise(convolution: nn.Conv2d) -> None:
    """Initialise like torchvision's convolutional networks (He et al. 2015)."""
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


# Pretrained weights -------------------------------------------------------------------------------


def _fill_torchvision(net: nn.Module, name: str) -> None:
    """Load torchvision's ImageNet weights; the last layer may have another shape."""
    from torchvision.models import get_model_weights

    weights = get_model_weights(name)["DEFAULT"]
    try:
        pretrained = weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
    except (OSError, RuntimeError) as error:
        raise _no_download(f"torchvision/{name}", error) from None
    own = net.state_dict()
    first = f"{_first_convolution(net)}."
    weight = f"{first}weight"
    pretrained[weight] = _for_channels(pretrained.get(weight), own[weight])
    matching = {}
    for key, value in pretrained.items():
        if key in own and value.shape == own[key].shape:
            matching[key] = value
    last = [key for key, _ in net.named_parameters()][-2:]
    for key in own:
        if key not in matching and key not in last and not key.startswith(first):
            raise ConfigError(
                f"torchvision/{name}: the pretrained weights do not fit ({key}); use pretrained: "
                "false."
            )
    net.load_state_dict(matching, strict=False)


def _for_channels(weight: Tensor | None, like: Tensor) -> Tensor:
    """Adapt the weight of a first convolution to another number of channels.

    The result is the mean over colours, scaled so that the outputs keep their size.
    """
    if weight is None or weight.shape[2:] != like.shape[2:]:
        return like  # a stem of another size keeps its initial weights
    if weight.shape == like.shape:
        return weight
    return weight.mean(1, keepdim=True).expand_as(like) * (weight.shape[1] / like.shape[1])


def _pretrained_timm(name: str, options: dict[str, Any]) -> nn.Module:
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise ConfigError(f"timm has no pretrained weights for {name}; use pretrained: false.")
    try:
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # the hub's client may raise anything without a network
        raise _no_download(f"timm/{name}", error) from None


def _no_download(name: str, error: Exception) -> ResourceError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ResourceError(
        f"The pretrained weights of {name} could not be downloaded ({reason}). Check the network, "
        "or start from random weights (pretrained: false)."
    )

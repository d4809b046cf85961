"""What all models of transformers have in common: their network, name, tokenizer and files."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck._base.files import move, temporary_folder
from limbeck.models.huggingface.hub import (
    CONFIG,
    TOKENIZER,
    quiet,
    read_vocabulary,
    require_transformers,
)
from limbeck.models.huggingface.pretrained import mismatches
from limbeck.models.protocols import CustomFiles

WEIGHTS = "model.safetensors"


class TransformersModel(nn.Module, CustomFiles):
    """A network of transformers, saved in the format of transformers.

    Attributes:
        net: Network of transformers.
        arguments: Arguments from which the model is rebuilt without its weights.
    """

    net: Any
    arguments: dict[str, Any]
    _tokenizer: Path | None = None

    def _set_net(self, net: Any) -> None:
        """Set the network, and test it if it has weights."""
        self.net = net
        if not any(weight.is_meta for weight in net.parameters()):
            self._test()

    def _test(self) -> None:
        """Test with a short input whether the network can do its task.

        Raises:
            ConfigError: If it cannot.
        """

    def _find_tokenizer(self, folder: Path | None) -> None:
        if folder is not None and (folder / TOKENIZER).is_file():
            self._tokenizer = folder / TOKENIZER

    @property
    def name(self) -> str:
        """Name with architecture, layers and width, such as ``gpt2-12x768``."""
        config = self.net.config.get_text_config()
        layers = getattr(config, "num_hidden_layers", None)
        width = getattr(config, "hidden_size", None)
        if layers is None or width is None:
            return config.model_type
        return f"{config.model_type}-{layers}x{width}"

    @property
    @abstractmethod
    def padded(self) -> int:
        """Number of vocabulary entries beyond those of the data."""

    @property
    def vocabulary(self) -> list[str] | None:
        """Tokens by id, from the ``tokenizer.json`` next to the weights; None if there is none.

        Raises:
            UntrustedFileError: If the file is damaged.
        """
        return None if self._tokenizer is None else read_vocabulary(self._tokenizer)

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load weights by the names that transformers uses in its files.

        Raises:
            RuntimeError: If names or shapes do not match; the message has one line for each.
        """
        require_transformers()
        with quiet():
            net, report = type(self.net).from_pretrained(
                None,
                config=self.net.config,
                state_dict=dict(weights),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        problems = list(mismatches(report))
        for name in sorted(report["unexpected_keys"]):
            problems.append(f"{name} does not belong to this model")
        if problems:
            raise RuntimeError("\n".join(["The weights do not fit:", *problems]))
        self._set_net(net.train(self.training))

    def extra_facts(self) -> dict[str, Any]:
        """Return facts for ``model.json`` in addition to builder and arguments; none by default."""
        return {}

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json`` like ``save_pretrained``, atomically."""
        with quiet(), temporary_folder(folder / WEIGHTS) as temporary:
            self.net.save_pretrained(temporary, max_shard_size="1000TB")
            for name in (WEIGHTS, CONFIG):
                move(temporary / name, folder / name)


def check_source(name: str, path: object, config: object, example: str) -> None:
    """Check that a model has a folder or settings.

    Args:
        name: Name of the class, for messages.
        path: Folder or name on the hub.
        config: Settings of a new model.
        example: Settings as an example.

    Raises:
        ConfigError: If it has neither, or the settings are of another type.
    """
    if path is None and config is None:
        raise ConfigError(
            f"{name} needs the folder or name of a model (path), or settings of a new model "
            f"(config: {{{example}}})."
        )
    if config is not None and not isinstance(config, Mapping):
        raise ConfigError(f"config={config!r} should be settings, as in {{{example}}}.")

"""The options of the group ``trainer``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from limbeck._base.checks import check_count, check_keys, field_names
from limbeck._base.errors import ConfigError

COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "fsdp")
MAX_DEVICES = 1024
_FORKING_STRATEGIES = ("spawn", "fork", "forkserver", "notebook")
_SET_BY_LIMBECK = (
    "callbacks",
    "logger",
    "default_root_dir",
    "enable_progress_bar",
    "enable_checkpointing",
)


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """Options of a training, with the names of Lightning's Trainer.

    Attributes:
        accelerator: Kind of device: ``auto``, ``cpu``, ``gpu``, ``mps``.
        devices: Number of devices, or a list of them.
        num_nodes: Number of machines.
        strategy: Strategy for several processes: ``auto`` or ``ddp``, in which each process holds
            whole students; ``fsdp``, in which each holds a share of the weights of one large
            student.
        precision: Precision of the computation, as in ``32-true`` or ``bf16-mixed``.
        compile: Whether to compile the steps, or a mode of ``torch.compile``.
        max_epochs: Number of epochs; None for the study's number.
        max_steps: Maximum number of optimizer steps; None or -1 for no limit.
        limit_train_batches: Maximum number of training batches per epoch, or a share of them as a
            float; None for all.
        limit_val_batches: Maximum number of validation batches, or a share of them as a float; None
            for all.
        check_val_every_n_epoch: Number of epochs between validations.
        accumulate_grad_batches: Number of batches per optimizer step.
        gradient_clip_val: Maximum norm (or absolute value) of each student's gradient.
        gradient_clip_algorithm: ``norm`` or ``value``.
        deterministic: Whether to refuse operations that are not deterministic; ``warn`` to only
            warn about them.
        benchmark: Whether cuDNN chooses the fastest algorithms by trying them.
        sync_batchnorm: Whether BatchNorm sees the samples of all processes; None for GPUs only.

    Raises:
        ConfigError: If a value is out of range.
    """

    accelerator: str = "auto"
    devices: int | str | list[int] = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str | int = "32-true"
    compile: bool | str = False
    max_epochs: int | None = None
    max_steps: int | None = None
    limit_train_batches: int | float | None = None
    limit_val_batches: int | float | None = None
    check_val_every_n_epoch: int = 1
    accumulate_grad_batches: int = 1
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str | None = "norm"
    deterministic: bool | str | None = False
    benchmark: bool | None = False
    sync_batchnorm: bool | None = None

    def __post_init__(self) -> None:
        self._check_devices()
        check_count("trainer.num_nodes", self.num_nodes)
        check_count("trainer.accumulate_grad_batches", self.accumulate_grad_batches)
        check_count("trainer.check_val_every_n_epoch", self.check_val_every_n_epoch)
        if self.max_epochs is not None:
            check_count("epochs", self.max_epochs)
        if self.max_steps not in (None, -1):
            check_count("trainer.max_steps", self.max_steps)
        self._check_limit("limit_train_batches", is_optional=False)
        self._check_limit("limit_val_batches", is_optional=True)
        self._check_clipping()
        self._check_strategy()
        if not isinstance(self.compile, bool) and self.compile not in COMPILE_MODES:
            raise ConfigError(
                f"trainer.compile={self.compile!r} is unknown. Choose true, false or one of "
                f"{', '.join(COMPILE_MODES)}."
            )
        for name in ("benchmark", "sync_batchnorm"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool):
                raise ConfigError(f"trainer.{name}={value!r} should be true or false.")
        if self.deterministic not in (None, False, True, "warn"):
            raise ConfigError(
                f"trainer.deterministic={self.deterministic!r} is unknown. Choose true, false or "
                "warn."
            )

    @classmethod
    def of(cls, options: "TrainerOptions | Mapping[str, Any] | None") -> Self:
        """Create options from a mapping such as the YAML group ``trainer``.

        Raises:
            ConfigError: If an option is unknown or its value is out of range.
        """
        if isinstance(options, cls):
            return options
        values: dict[str, Any] = dict(options or {})  # type: ignore[arg-type]
        for name in values:
            if name in _SET_BY_LIMBECK:
                raise ConfigError(f"trainer.{name} is set by limbeck itself. Remove it.")
        check_keys(values, field_names(cls), "trainer")
        return cls(**values)

    def with_epochs(self, epochs: int) -> Self:
        """These options with a number of epochs, unless they have one."""
        if self.max_epochs is not None:
            return self
        return replace(self, max_epochs=check_count("epochs", epochs))

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds a share of the weights."""
        return self.strategy == "fsdp"

    @property
    def step_limit(self) -> float:
        """Maximum number of optimizer steps; infinite for no limit."""
        return float("inf") if self.max_steps in (None, -1) else float(self.max_steps or 0)

    def _check_limit(self, name: str, *, is_optional: bool) -> None:
        value = getattr(self, name)
        if value is None:
            return
        is_share = isinstance(value, float) and 0 <= value <= 1
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if not is_share and not is_count:
            raise ConfigError(
                f"trainer.{name}={value!r} is out of range. Give a whole number of batches, or a "
                "share from 0.0 to 1.0."
            )
        if value == 0 and not is_optional:
            raise ConfigError(
                f"trainer.{name}={value!r} leaves nothing to train on. Give at least one batch, or "
                "a share above 0.0."
            )

    def _check_devices(self) -> None:
        """Check the number of devices, of which Lightning makes a list."""
        text = str(self.devices)
        if text.isdecimal() and not 1 <= int(text) <= MAX_DEVICES:
            raise ConfigError(
                f"trainer.devices={self.devices!r} should be a number from 1 to {MAX_DEVICES}, a "
                "list of devices, or auto."
            )

    def _check_clipping(self) -> None:
        clip = self.gradient_clip_val
        is_number = isinstance(clip, (int, float)) and not isinstance(clip, bool)
        if clip is not None and not (is_number and clip >= 0):
            raise ConfigError(
                f"trainer.gradient_clip_val={clip!r} should be a number, not negative."
            )
        if self.gradient_clip_algorithm not in (None, "norm", "value"):
            raise ConfigError(
                f"trainer.gradient_clip_algorithm={self.gradient_clip_algorithm!r} is unknown. "
                "Choose norm or value."
            )

    def _check_strategy(self) -> None:
        if self.strategy in STRATEGIES:
            return
        if str(self.strategy).endswith(_FORKING_STRATEGIES):
            raise ConfigError(
                f"trainer.strategy={self.strategy} would fork this process for {self.devices} "
                "devices, but each process has to run the whole command. Use trainer.strategy=ddp."
            )
        raise ConfigError(
            f"trainer.strategy={self.strategy!r} is not supported. Choose one of "
            f"{', '.join(STRATEGIES)}."
        )

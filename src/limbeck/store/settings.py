"""Settings of the store for the teacher's answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck._base import cache
from limbeck._base.checks import check_count, check_keys, field_names
from limbeck._base.errors import ConfigError
from limbeck.store.key import ITEM_BYTES, KINDS, SPARSE_DTYPE, SPARSE_KINDS
from limbeck.store.remote import store_folder

MODES = ("auto", "off")


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Which part of a teacher's answers is stored, and where.

    Attributes:
        mode: ``auto`` computes the answers once and stores them, unless running the teacher in
            every step is less work; ``off`` runs it in every step.
        kind: Part of an answer to store: ``dense`` for all logits, ``topk`` for the K most probable
            classes and a summary of the others, ``sampled`` for K classes drawn at the temperature
            of the objective. The last two support only the KL divergence and the cross-entropy.
        k: Number of classes, K; all classes if there are fewer.
        dtype: Type of dense logits: ``float16``, ``bfloat16`` or ``float32``. Logits in float32 are
            bit for bit those of the live teacher on the same device, except in tiny batches.
        views: Number of views per sample if a family of views is endless.
        folder: Folder of all stores, or address such as ``s3://bucket/answers``; None for
            ``$LIMBECK_STORE`` or the user's cache folder.

    Raises:
        ConfigError: If a value is out of range.
    """

    mode: str = "auto"
    kind: str = "dense"
    k: int = 12
    dtype: str = "float16"
    views: int = 16
    folder: str | Path | None = None

    def __post_init__(self) -> None:
        for name, choices in (("mode", MODES), ("kind", KINDS), ("dtype", tuple(ITEM_BYTES))):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(
                    f"store.{name}={value!r} is unknown; choose one of {', '.join(choices)}."
                )
        if self.kind != "dense" and self.dtype != SPARSE_DTYPE:
            raise ConfigError(
                f"store.dtype={self.dtype!r} is for store.kind=dense; {self.kind} answers are "
                f"stored in {SPARSE_DTYPE}."
            )
        check_count("store.k", self.k)
        check_count("store.views", self.views)
        is_path = isinstance(self.folder, (str, Path)) and str(self.folder)
        if self.folder is not None and not is_path:
            raise ConfigError(
                f"store.folder={self.folder!r} should be a folder, or null for the user's cache."
            )

    @classmethod
    def of(cls, value: "StoreLike") -> "StoreSettings":
        """Create settings from a user's value.

        Args:
            value: Settings, a mapping of them, a mode (False is off, as in YAML) or a kind.

        Raises:
            ConfigError: If the value is none of these.
        """
        if isinstance(value, StoreSettings):
            return value
        if isinstance(value, Mapping):
            return cls._from_mapping(value)
        if value is False:
            return cls(mode="off")
        if value in SPARSE_KINDS:
            return cls(kind=str(value))
        if value not in MODES:
            choices = ", ".join((*MODES, *SPARSE_KINDS))
            raise ConfigError(f"store={value!r} is unknown; choose one of {choices}.")
        return cls(mode=str(value))

    @classmethod
    def _from_mapping(cls, values: Mapping[str, Any]) -> "StoreSettings":
        check_keys(values, field_names(cls), "store")
        settings = dict(values)
        if settings.get("mode") is False:
            settings["mode"] = "off"
        return cls(**settings)

    @property
    def root(self) -> Path:
        """Folder of all stores."""
        if self.folder is None:
            return cache.ANSWERS.default_folder
        return store_folder(self.folder)


StoreLike = StoreSettings | Mapping[str, Any] | str | bool

"""Folders of checkpoints: the only file of weights in one, and what a folder without any holds."""

from collections.abc import Callable
from pathlib import Path

from limbeck.models.files.kinds import CHECKPOINT_SUFFIXES, OTHER_FRAMEWORK

TRAINING_STATE = (
    "optimizer.pt",
    "optimizer.bin",
    "scheduler.pt",
    "scheduler.bin",
    "scaler.pt",
    "scaler.bin",
    "rng_state.pth",
    "training_args.bin",
)
"""Files in which libraries keep the state of a training next to the weights."""
ADAPTER = "adapter_config.json"


def only_checkpoint(folder: Path) -> Path | None:
    """Return the file of weights in a folder; None if there is none, or several."""
    names = [file.name for file in folder.iterdir() if file.is_file()]
    checkpoints = checkpoints_among(names)
    if len(checkpoints) != 1 or ADAPTER in names or ".metadata" in names:
        return None
    return folder / checkpoints[0]


def checkpoints_among(names: list[str]) -> list[str]:
    """Return the names of files of weights, without those of the state of a training."""
    return [
        name
        for name in sorted(names)
        if name.endswith(CHECKPOINT_SUFFIXES)
        and name not in TRAINING_STATE
        and not name.endswith("_optim_states.pt")  # of DeepSpeed
    ]


def explain_folder(folder: Path) -> str:
    """Describe what a folder without weights contains, and what to do; the end of a sentence."""
    names = sorted(file.name for file in folder.iterdir())
    for is_kind, explain in _KINDS:
        if is_kind(names):
            return explain(folder)
    checkpoints = checkpoints_among([name for name in names if (folder / name).is_file()])
    if checkpoints:
        others = f" and {len(checkpoints) - 3} more" if len(checkpoints) > 3 else ""
        return (
            f"has no model.safetensors but {', '.join(checkpoints[:3])}{others}. Choose a file: "
            f"{folder / checkpoints[0]}"
        )
    return (
        f"has no model.safetensors, and neither has {folder / 'teacher'}. Choose a run folder, a "
        "model folder or a file"
    )


def _is_distributed(names: list[str]) -> bool:
    return ".metadata" in names and any(name.endswith(".distcp") for name in names)


def _explain_distributed(folder: Path) -> str:
    return (
        "is a distributed checkpoint. Convert it: python -m "
        f"torch.distributed.checkpoint.format_utils dcp_to_torch {folder} weights.pt"
    )


def _is_deepspeed(names: list[str]) -> bool:
    return "zero_to_fp32.py" in names or any(name.endswith("_model_states.pt") for name in names)


def _explain_deepspeed(folder: Path) -> str:
    return (
        "is a checkpoint of DeepSpeed, in parts. Join them: python -m "
        f"deepspeed.utils.zero_to_fp32 {folder} weights"
    )


def _explain_bundle(folder: Path) -> str:
    return (
        "is a bundle, which holds ONNX models. Choose the run it was exported from, or a "
        "student's folder in RUN/students"
    )


def _explain_adapter(folder: Path) -> str:
    return (
        "contains an adapter (LoRA?), whose weights belong to another model. Merge them with PEFT: "
        "merge_and_unload(), then save_pretrained(FOLDER)"
    )


def _explain_saved_model(folder: Path) -> str:
    return f"is a SavedModel of TensorFlow. {OTHER_FRAMEWORK}"


def _explain_other_weights(folder: Path) -> str:
    return (
        "has weights for TensorFlow or Flax only. Convert them with transformers, as in "
        "AutoModel.from_pretrained(FOLDER, from_tf=True).save_pretrained(OTHER), or download "
        "model.safetensors"
    )


def _explain_core_ml(folder: Path) -> str:
    return f"is a Core ML package. {OTHER_FRAMEWORK}"


_KINDS: tuple[tuple[Callable[[list[str]], bool], Callable[[Path], str]], ...] = (
    (_is_distributed, _explain_distributed),
    (lambda names: "bundle.json" in names, _explain_bundle),
    (lambda names: ADAPTER in names, _explain_adapter),
    (_is_deepspeed, _explain_deepspeed),
    (lambda names: "saved_model.pb" in names, _explain_saved_model),
    (
        lambda names: bool({"tf_model.h5", "flax_model.msgpack"} & set(names)),
        _explain_other_weights,
    ),
    (lambda names: {"Manifest.json", "Data"} <= set(names), _explain_core_ml),
)

"""Tasks that limbeck does not serve, and one sentence that says so.

The module imports nothing, because the command line reads it before it imports a library.
"""

import re

NOT_SERVED = {
    "object detection": (
        "detection boxes bbox bboxes coco voc yolo detr ssd retinanet fasterrcnn objectdetection"
    ),
    "segmentation": (
        "segmentation masks cityscapes ade20k deeplab deeplabv3 unet maskrcnn "
        "semanticsegmentation instancesegmentation universalsegmentation"
    ),
    "pose estimation": "pose keypoints keypoint",
    "depth estimation": "depth depthestimation",
    "speech recognition": "speech asr audio whisper ctc librispeech",
    "translation and other sequence-to-sequence tasks": (
        "translation summarization captioning seq2seq seq2seqlm conditionalgeneration wmt"
    ),
    "tagging of tokens": "ner tagging tokenclassification conll",
    "question answering": "questionanswering squad qa vqa",
    "image generation": "diffusion gan vae",
}
"""Words by which data, models and settings of such tasks are known, by task."""
_TASK_OF = {word: task for task, words in NOT_SERVED.items() for word in words.split()}
_WORDS = re.compile(r"[a-z0-9]+")


def refusal(task: str) -> str:
    """Return the sentence about a task that is not served."""
    return (
        f"limbeck does not serve {task}: it distils models that give a sample one answer, classes "
        "or values, and language models."
    )


def refusal_of(name: object) -> str:
    """Return the sentence about the task that a name stands for; empty without one.

    Args:
        name: Name of data, of a model or of a setting, such as ``coco`` or
            ``DetrForObjectDetection``.
    """
    text = str(name)
    words = _WORDS.findall(text.lower().replace("_", " "))
    _, is_class, kind = text.partition("For")
    for word in (*words, kind.lower() if is_class else "", "".join(words)):
        if word in _TASK_OF:
            return refusal(_TASK_OF[word])
    return ""

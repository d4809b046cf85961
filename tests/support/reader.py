"""The files and names that a reader of the documentation has, by page."""

import json
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from limbeck.cli.main import main
from limbeck.models import MLP, ConvNet, TimmModel, TorchvisionModel
from support.cifar_files import cifar10_files
from support.cifar_files import write as write_cifar
from support.encoders import write_bert
from support.fundus import write_aptos
from support.huggingface_models import new_model
from support.idx_files import write_mnist
from support.onnx_files import content
from support.reviews import make_reviews, write_csv
from support.sentence_encoders import write_encoder, write_texts
from support.tables import COLUMNS, table_rows

WORDS = "the teacher shows what the student learns and the control does without it "
IMAGES, LARGE_IMAGES = (1, 28, 28), (3, 64, 64)


def write_files(page: str, folder: Path) -> None:
    """Write the files that the commands of a page read, as the page names them."""
    for pages, write in FILES:
        if page in pages:
            write(folder)


def names_of(page: str, folder: Path) -> dict[str, object]:
    """Return the names that the Python blocks of a page do not define themselves."""
    if page == "README.md":
        torch.manual_seed(0)
        x, y = torch.randn(64, 8), torch.randint(4, (64,))
        loader = DataLoader(TensorDataset(x, y), batch_size=16)
        models = {"student": nn.Linear(8, 4), "teacher": nn.Linear(8, 4)}
        return {**models, "loader": loader, "test_loader": loader}
    if page == "how-to/teacher.md":
        torch.save(MLP(IMAGES, 10, hidden=[8]), folder / "module.pt")
        return {"torch": torch, "FILE": str(folder / "module.pt")}
    return {}


# Data ---------------------------------------------------------------------------------------------


def _mnist(folder: Path) -> None:
    write_mnist(folder / "data", gz=False, train=400, test=100, size=28)
    (folder / "path" / "to").mkdir(parents=True)
    for name in ("mnist", "fashion"):
        shutil.copytree(folder / "data", folder / "path" / "to" / name)


def _cifar(folder: Path) -> None:
    write_cifar(folder / "data" / "cifar-10-batches-bin", cifar10_files(each=50, test=50))


def _pictures(folder: Path, count: int, size: int = 40) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(folder.parts) + len(folder.name))
    for number in range(count):
        pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def _photos(folder: Path) -> None:
    for name in ("cat", "horse"):
        _pictures(folder / "photos" / name, 20)


def _letters(folder: Path) -> None:
    _pictures(folder / "letters", 20)


def _scans(folder: Path) -> None:
    _pictures(folder / "scans" / "images", 45)
    findings = ("normal", "benign", "malignant")
    splits = ("train", "train", "train", "val", "test")
    rows = ["id,finding,split,patient,age,signs"]
    for n in range(45):
        signs = ";".join([*["haze"] * (n % 2), *["node"] * (n % 3 == 0)])
        rows.append(f"{n},{findings[n % 3]},{splits[n % 5]},p{n // 2},{40 + n},{signs}")
    (folder / "scans" / "train.csv").write_text("\n".join(rows) + "\n")


def _customers(folder: Path) -> None:
    x, y = table_rows(120)
    lines = ["age,colour,income,churn"]
    for (age, colour, income), label in zip(x.tolist(), y.tolist(), strict=True):
        word = "" if np.isnan(colour) else COLUMNS.categories[1][int(colour)]
        lines.append(f"{age},{word},{income},{'yes' if label else 'no'}")
    (folder / "customers.csv").write_text("\n".join(lines) + "\n")
    (folder / "new_customers.csv").write_text("\n".join(lines[:20]) + "\n")


def _houses(folder: Path) -> None:
    lines = ["area,rooms,street,price,rent"]
    for n in range(120):
        area, rooms = 30 + 7 * n % 90, 1 + n % 5
        street = ("Elm", "Oak", "Ash")[n % 3]
        lines.append(f"{area},{rooms},{street},{3 * area + 10 * rooms},{12 * area + n % 7}")
    (folder / "houses.csv").write_text("\n".join(lines) + "\n")


def _rows_with_labels(folder: Path) -> None:
    lines = ["words,hour,channel,urgent,complaint"]
    for n in range(120):
        channel = ("mail", "phone", "letter")[n % 3]
        lines.append(f"{n % 37},{n % 24},{channel},{int(n % 37 > 18)},{int(n % 24 > 11)}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    mails = []
    for n, (text, label) in enumerate(make_reviews(120)):
        mails.append((text, ";".join([label, *["long"] * (n % 2)])))
    write_csv(folder / "mails.csv", mails, header=("text", "topics"))


def _tables_of_images(folder: Path) -> None:
    if find_spec("pyarrow") is None:
        return
    import pyarrow
    from pyarrow import parquet

    files = sorted((folder / "scans" / "images").glob("*.png"))
    images = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    labels = [number % 2 for number in range(len(files))]
    parquet.write_table(
        pyarrow.table({"picture": images, "finding": labels}), folder / "scans.parquet"
    )
    (folder / "beans").mkdir()
    parquet.write_table(
        pyarrow.table({"image": images, "label": labels}),
        folder / "beans" / "train-00000-of-00001.parquet",
    )


def _aptos(folder: Path) -> None:
    write_aptos(folder / "aptos", 12)


def _texts(folder: Path) -> None:
    random = np.random.default_rng(0)
    words = random.choice(WORDS.split(), 20_000)
    (folder / "book.txt").write_text(" ".join(words) + "\n", encoding="utf-8")
    (folder / "corpus").mkdir()
    for number in range(5):
        part = " ".join(words[number * 3000 :][:3000])
        (folder / "corpus" / f"{number}.md").write_text(part, encoding="utf-8")


def _reviews(folder: Path) -> None:
    rows = [
        (text, label, text, "5" if label == "good" else "1") for text, label in make_reviews(120)
    ]
    write_csv(folder / "reviews.csv", rows, header=("text", "label", "review", "stars"))
    write_csv(folder / "new.csv", [(text,) for text, _ in make_reviews(9, seed=3)], ["review"])
    pairs = [(text, label, label) for text, label in make_reviews(120, seed=1)]
    write_csv(folder / "pairs.csv", pairs, header=("premise", "hypothesis", "label"))
    for number, (text, label) in enumerate(make_reviews(60, seed=2)):
        file = folder / "mails" / label / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


# Models -------------------------------------------------------------------------------------------


def _convnet(folder: Path) -> None:
    model = ConvNet(IMAGES, 10, channels=[24, 32, 48, 64, 96], strides=[1, 2, 1, 2, 1])
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.1)
    torch.save(model.state_dict(), folder / "teacher.pt")


def _checkpoints(folder: Path) -> None:
    torch.save(MLP(IMAGES, 10, hidden=[800, 800]).state_dict(), folder / "teacher.pt")
    resnet = TorchvisionModel(LARGE_IMAGES, 2, name="resnet18")
    torch.save({"state_dict": resnet.net.state_dict()}, folder / "resnet50.pt")
    (folder / "teacher.onnx").write_bytes(
        content(weight=np.zeros((784, 10), np.float32), shape=("N", *IMAGES))
    )
    large = ConvNet((1, 32, 32), 10, channels=[8], strides=[2])
    torch.save(large.state_dict(), folder / "large.pt")
    convnext = TimmModel(LARGE_IMAGES, 2, name="convnext_atto")
    torch.save(convnext.net.state_dict(), folder / "convnext.pt")


def _image_classifier(folder: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    names = {"id2label": {0: "cat", 1: "horse"}, "label2id": {"cat": 0, "horse": 1}}
    config = ViTConfig(**sizes, intermediate_size=8, image_size=16, patch_size=8, **names)
    ViTForImageClassification(config).save_pretrained(folder / "VIT")
    processor = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 16}
    (folder / "VIT" / "preprocessor_config.json").write_text(json.dumps(processor))


def _bert(folder: Path) -> None:
    texts = [text for text, _ in make_reviews(120)]
    write_bert(folder / "BERT", texts, ["bad", "good"], hidden_size=128)


def _language_model(folder: Path) -> None:
    from limbeck.data.text.training import train_bpe

    tokenizer = train_bpe([(folder / "book.txt").read_text(encoding="utf-8")], 300)
    model = new_model("gpt2", length=128, classes=tokenizer.size)
    model.net.save_pretrained(folder / "FOLDER")
    (folder / "FOLDER" / "tokenizer.json").write_text(str(tokenizer.file), encoding="utf-8")


# Runs ---------------------------------------------------------------------------------------------


@cache
def _run_of(recipe: str) -> Path:
    import tempfile

    run = Path(tempfile.mkdtemp()) / "run"
    assert main(["run", f"recipe={recipe}", "quick=true", "logger=csv", f"out={run}"]) == 0
    return run


def _classifier_run(folder: Path) -> None:
    shutil.copytree(_run_of("digits"), folder / "RUN")
    _pictures(folder / "folder", 3)
    shutil.copy(folder / "folder" / "0.png", folder / "scan.png")


def _text_run(folder: Path) -> None:
    shutil.copytree(_run_of("text"), folder / "RUN")


def _interrupted_run(folder: Path) -> None:
    run = shutil.copytree(_run_of("digits"), folder / "runs" / "digits" / "2026-01-01_12-00-00")
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    manifest["state"] = "interrupted"
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


MNIST_PAGES = (
    "README.md",
    "concepts/views.md",
    "how-to/data-free.md",
    "how-to/devices.md",
    "how-to/settings.md",
    "how-to/teacher.md",
    "how-to/transfer-sets.md",
)


def _sentence_encoder(folder: Path) -> None:
    write_encoder(folder / "encoder")
    write_texts(folder / "texts.csv")


FILES = (
    (MNIST_PAGES, _mnist),
    (("how-to/library-models.md", "how-to/settings.md"), _cifar),
    (
        ("README.md", "how-to/large-data.md", "how-to/own-images.md", "how-to/teacher.md"),
        _photos,
    ),
    (("README.md", "how-to/own-texts.md", "how-to/regression.md", "how-to/teacher.md"), _reviews),
    (("how-to/own-texts.md", "how-to/teacher.md"), _bert),
    (("how-to/embeddings.md",), _sentence_encoder),
    (("how-to/transfer-sets.md",), _letters),
    (("how-to/csv.md",), _scans),
    (("how-to/csv.md",), _tables_of_images),
    (("README.md", "how-to/own-tables.md"), _customers),
    (("how-to/answers.md", "how-to/regression.md"), _houses),
    (("how-to/several-labels.md",), _rows_with_labels),
    (("how-to/csv.md",), _aptos),
    (
        ("README.md", "how-to/own-text.md", "how-to/teacher.md", "tutorials/language-model.md"),
        _texts,
    ),
    (("README.md",), _convnet),
    (("how-to/teacher.md",), _checkpoints),
    (("how-to/teacher.md",), _image_classifier),
    (("how-to/own-text.md", "how-to/teacher.md"), _language_model),
    (("how-to/export.md",), _classifier_run),
    (("how-to/own-text.md",), _text_run),
    (("how-to/resume.md",), _interrupted_run),
)
"""Pages, and the function that writes a part of their files."""

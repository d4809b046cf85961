"""Tiny encoders of transformers with random weights, and token ids of texts for them."""

import torch

from limbeck.data import Dataset
from limbeck.data.dataset import Split
from limbeck.data.text.tokenizer import ByteTokenizer
from limbeck.models import HuggingFaceClassifier

LENGTH, CLASSES, VOCABULARY, PADDING = 12, 3, 30, 0
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
KINDS = {
    "bert": SMALL,
    "distilbert": {"dim": 16, "hidden_dim": 24, "n_layers": 4, "n_heads": 2},
    "roberta": SMALL | {"max_position_embeddings": LENGTH + 1},
    "modernbert": SMALL,  # layers of several types
    "gpt2": {"n_embd": 16, "n_layer": 4, "n_head": 2},  # reads the last token
}


def new_classifier(kind="bert", seed=0, *, classes=CLASSES, **changes):
    """A classifier whose weights are far from their initial values, so that answers differ."""
    torch.manual_seed(seed)
    model = HuggingFaceClassifier(
        (LENGTH,),
        classes,
        vocabulary=VOCABULARY,
        padding=PADDING,
        config={"model_type": kind} | KINDS[kind] | changes,
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return model.eval()


def texts_of(*lengths, seed=0):
    """Token ids of texts of different lengths, padded at their end."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((len(lengths), LENGTH), PADDING)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, VOCABULARY, (length,), generator=generator)
    return ids


def letters(count, seed, length=10):
    """Texts of letters, whose class is whether they contain an x."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(97, 105, (count, length), generator=generator)
    labels = torch.arange(count) % 2
    ids[labels == 1, 1] = ord("x")
    lengths = torch.randint(2, length + 1, (count, 1), generator=generator)
    ids[torch.arange(length) >= lengths] = ByteTokenizer().padding
    return Split(ids.int(), labels)


def dataset_of_letters():
    splits = [letters(count, seed) for seed, count in enumerate((128, 32, 60))]
    return Dataset.from_splits(
        "letters", *splits, class_names=["plain", "marked"], tokenizer=ByteTokenizer()
    )


def write_bert(folder, texts, class_names, *, positions=128, **sizes):
    """Write a folder of a BERT with random weights and a tokenizer of the words of texts."""
    import tokenizers
    from transformers import BertConfig, BertForSequenceClassification

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    # Tokens of the same count have no order, so they are numbered by name.
    tokens = [*special, *sorted(set(tokenizer.get_vocab()) - set(special))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer.model = tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]")
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=positions,
        id2label=dict(enumerate(class_names)),
        label2id={name: number for number, name in enumerate(class_names)},
        **(SMALL | {"num_hidden_layers": 2} | sizes),
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))

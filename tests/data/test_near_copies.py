"""Near copies are found whatever their size, brightness and compression; other images are not."""

import io

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from limbeck.data.near_copies import near_copies


def scenes(count, seed, side=32):
    """Smooth random images of three colours."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=draw)
    images = functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (255 * images).to(torch.uint8)


def compressed(image):
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=60)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)


def smaller(image):
    part = functional.interpolate(image[None].float(), (20, 20), mode="area")
    return functional.interpolate(part, (32, 32), mode="bilinear")[0].round().to(torch.uint8)


def test_copies_are_found_and_other_images_are_not():
    train, test = scenes(400, 0), scenes(200, 1)
    changes = [
        lambda image: image,
        compressed,
        smaller,
        lambda image: (image.float() * 0.6 + 40).to(torch.uint8),
        lambda image: image.float().mean(0, keepdim=True).expand(3, -1, -1).to(torch.uint8),
    ]
    for number, change in enumerate(changes):
        test[10 * number] = change(train[number + 7])
    copies = near_copies(train, {"test": test, "val": scenes(100, 2)})
    assert copies["test"].rows == [(10 * number, number + 7) for number in range(len(changes))]
    assert (copies["test"].queries, copies["test"].images) == (200, 400)
    assert copies["val"].rows == []


def test_images_without_contrast_are_left_out():
    train = torch.full((5, 1, 8, 8), 9, dtype=torch.uint8)
    assert near_copies(train, {"test": train})["test"].queries == 0

"""Drawn photographs of the back of an eye, in the layout of APTOS 2019: the worse the grade, the
more spots.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

SPOTS = (0, 4, 9, 15, 24)
GRADES = 5


def fundus(grade, seed, size=64):
    """A dark frame, an orange disc with vessels, and spots."""
    random = np.random.default_rng(seed)
    wide, high = round(size * 1.4), size
    image = Image.new("RGB", (wide, high))
    draw = ImageDraw.Draw(image)
    middle = np.array([wide / 2 + random.uniform(-3, 3), high / 2])
    radius = high * 0.48
    shade = random.uniform(0.85, 1.15)
    draw.ellipse(
        [*(middle - radius), *(middle + radius)], fill=tuple(int(c * shade) for c in (190, 95, 35))
    )
    nerve = middle + np.array([radius * 0.5, random.uniform(-3, 3)])
    draw.ellipse([*(nerve - radius / 7), *(nerve + radius / 7)], fill=(250, 215, 150))
    for angle in random.uniform(0, 2 * math.pi, 5):
        draw.line(
            [*nerve, *(middle + radius * 0.8 * np.array([math.cos(angle), math.sin(angle)]))],
            (130, 45, 20),
        )
    for _ in range(SPOTS[grade]):
        angle, far = random.uniform(0, 2 * math.pi), radius * 0.85 * math.sqrt(random.uniform())
        spot = middle + far * np.array([math.cos(angle), math.sin(angle)])
        draw.ellipse([*(spot - size / 32), *(spot + size / 32)], fill=(255, 235, 90))
    return image


def write_aptos(root, per_grade, *, size=64, seed=0):
    """``train.csv`` and ``train_images/<id_code>.png``, as many of each grade."""
    (root / "train_images").mkdir(parents=True, exist_ok=True)
    lines = ["id_code,diagnosis"]
    for number in range(per_grade * GRADES):
        code = f"{seed:04x}{number:08x}"
        fundus(number % GRADES, [seed, number], size).save(root / "train_images" / f"{code}.png")
        lines.append(f"{code},{number % GRADES}")
    (root / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root

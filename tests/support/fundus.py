"""Drawings of the retina in the layout of APTOS 2019: the worse the grade, the more spots."""

import math

import numpy as np
from PIL import Image, ImageDraw

SPOTS = (0, 4, 9, 15, 24)
"""Number of spots by grade."""
GRADES = len(SPOTS)
DISC = (190, 95, 35)
NERVE = (250, 215, 150)
VESSEL = (130, 45, 20)
SPOT = (255, 235, 90)


def fundus(grade, seed, size=64):
    """A dark frame, an orange disc with vessels, and spots."""
    random = np.random.default_rng(seed)
    width, height = round(size * 1.4), size
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)

    def circle(middle, radius, colour):
        draw.ellipse([*(middle - radius), *(middle + radius)], fill=colour)

    middle = np.array([width / 2 + random.uniform(-3, 3), height / 2])
    radius = height * 0.48
    shade = random.uniform(0.85, 1.15)
    circle(middle, radius, tuple(int(value * shade) for value in DISC))
    nerve = middle + np.array([radius * 0.5, random.uniform(-3, 3)])
    circle(nerve, radius / 7, NERVE)
    for angle in random.uniform(0, 2 * math.pi, 5):
        end = middle + radius * 0.8 * np.array([math.cos(angle), math.sin(angle)])
        draw.line([*nerve, *end], VESSEL)
    for _ in range(SPOTS[grade]):
        angle = random.uniform(0, 2 * math.pi)
        distance = radius * 0.85 * math.sqrt(random.uniform())
        spot = middle + distance * np.array([math.cos(angle), math.sin(angle)])
        circle(spot, size / 32, SPOT)
    return image


def write_aptos(root, per_grade, *, size=64, seed=0):
    """Write ``train.csv`` and ``train_images``, with ``per_grade`` images of each grade."""
    (root / "train_images").mkdir(parents=True, exist_ok=True)
    lines = ["id_code,diagnosis"]
    for number in range(per_grade * GRADES):
        code = f"{seed:04x}{number:08x}"
        grade = number % GRADES
        fundus(grade, [seed, number], size).save(root / "train_images" / f"{code}.png")
        lines.append(f"{code},{grade}")
    (root / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root

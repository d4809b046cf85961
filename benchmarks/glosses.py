"""Write definitions of WordNet as a CSV file, for the study of embeddings in docs/results.

``python benchmarks/glosses.py /usr/share/wordnet glosses.csv``; the folder is that of Debian's
package wordnet-base, with lexicographer files in WordNet's own format (wndb). The columns are the
definition of a noun without its examples, and its lexicographer file, such as noun.animal. Of the
definitions with at least four words, ``--number`` are drawn, none twice.
"""

import argparse
import csv
import random
from collections.abc import Iterator
from pathlib import Path

MIN_WORDS = 4
NOUNS = """
Tops act animal artifact attribute body cognition communication event feeling food group location
motive object person phenomenon plant possession process quantity relation shape state substance
time
"""
CATEGORIES = {number: f"noun.{name}" for number, name in enumerate(NOUNS.split(), start=3)}
"""Names of the lexicographer files of nouns by number, from WordNet's lexnames."""


def glosses(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield definition and category of each synset of a data file."""
    for line in lines:
        if line.startswith("  "):  # the licence
            continue
        synset, _, gloss = line.partition(" | ")
        definition = gloss.split('; "')[0].strip()
        if len(definition.split()) >= MIN_WORDS:
            yield definition, CATEGORIES[int(synset.split()[1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of data.noun")
    parser.add_argument("output", type=Path, help="CSV file to write")
    parser.add_argument("--number", type=int, default=10_000, help="number of definitions")
    options = parser.parse_args()

    lines = (options.folder / "data.noun").read_text(encoding="utf-8").splitlines()
    category = dict(glosses(lines))
    definitions = random.Random(0).sample(sorted(category), options.number)
    with options.output.open("w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["gloss", "category"])
        writer.writerows((definition, category[definition]) for definition in definitions)
    print(f"{options.output}: {len(definitions):,} definitions")


if __name__ == "__main__":
    main()

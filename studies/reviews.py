"""Reviews that a program writes: whether "not" stands before a word of praise or of blame decides what they mean."""

import numpy as np
import pandas as pd

PRAISE = ["lovely", "bright", "warm", "clever", "funny", "honest", "tender", "gripping"]
BLAME = ["dull", "slow", "cold", "clumsy", "loud", "flat", "noisy", "tired"]
NOUNS = ["plot", "cast", "music", "story", "camera", "ending", "dialogue", "hero"]


def reviews(rows: int = 2000) -> pd.DataFrame:
    """Return texts of two sentences and their verdict; the same ones for the same number of rows."""
    random = np.random.default_rng(20)
    texts, verdicts = [], []
    for _ in range(rows):
        votes, sentences = 0, []
        for noun in random.choice(NOUNS, 3, replace=False):
            is_praise, is_denied = random.random(2) < 0.5
            word = random.choice(PRAISE if is_praise else BLAME)
            sentences.append(f"The {noun} is {'not ' if is_denied else ''}{word}")
            votes += 1 if is_praise != is_denied else -1
        texts.append(f"{sentences[0]}, {sentences[1].lower()}. {sentences[2]}!")
        verdicts.append("liked" if votes > 0 else "disliked")
    return pd.DataFrame({"review": texts, "verdict": verdicts})

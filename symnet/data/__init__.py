"""Corpora of small networks: real digits, and a SIREN fitted to every one of them, on disk and resumable."""

from symnet.data.augmentation import Augmented, Compose, Dropout, Mixed, Noise, Permute, Rescale
from symnet.data.corpus import Corpus, fit_corpus
from symnet.data.digits import Digits, Split, digits, pixel_grid, split_images
from symnet.data.fitting import FitRecipe, fit_images
from symnet.data.shards import BrokenShardError, read_shard, write_shard
from symnet.data.sirens import Sine, evaluate, initial_weights, psnr, siren

__all__ = [
    "Augmented",
    "BrokenShardError",
    "Compose",
    "Corpus",
    "Digits",
    "Dropout",
    "FitRecipe",
    "Mixed",
    "Noise",
    "Permute",
    "Rescale",
    "Sine",
    "Split",
    "digits",
    "evaluate",
    "fit_corpus",
    "fit_images",
    "initial_weights",
    "pixel_grid",
    "psnr",
    "read_shard",
    "siren",
    "split_images",
    "write_shard",
]

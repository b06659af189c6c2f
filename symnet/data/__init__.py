"""Corpora of small networks: real digits, and a SIREN fitted to every one of them, on disk and resumable."""

from symnet.data.augmentation import Augmented, Compose, Dropout, Mixed, Noise, Permute, Rescale
from symnet.data.corpus import Corpus, fit_corpus
from symnet.data.digits import Digits, Split, digits, pixel_grid, split_images
from symnet.data.fitting import FitRecipe, fit_images
from symnet.data.shards import BrokenShardError, read_shard, write_shard
from symnet.data.sirens import Sine, evaluate, initial_weights, psnr, siren
from symnet.data.state_files import StateFileError, read_state_file, write_state_file

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
    "StateFileError",
    "digits",
    "evaluate",
    "fit_corpus",
    "fit_images",
    "initial_weights",
    "pixel_grid",
    "psnr",
    "read_shard",
    "read_state_file",
    "siren",
    "split_images",
    "write_shard",
    "write_state_file",
]

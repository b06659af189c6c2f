"""Corpora of small networks: real digits, and a SIREN fitted to every one of them, on disk and resumable."""

from symnet.data.augmentation import Augmented, Compose, Dropout, Mixed, Noise, Permute, Rescale
from symnet.data.corpus import Corpus, fit_corpus
from symnet.data.digits import Digits, Split, digits, pixel_grid, split_images
from symnet.data.fitting import FitRecipe, fit_images
from symnet.data.inr_folders import read_dws_folders, read_siren_folders
from symnet.data.label_tables import LabelTable, read_labels
from symnet.data.mixed_networks import MixedNetworks
from symnet.data.network_set import NetworkSet
from symnet.data.own_folders import read_folder
from symnet.data.peft_folders import Adapter, read_peft_folder
from symnet.data.shards import BrokenShardError, read_shard, write_shard
from symnet.data.sirens import Sine, evaluate, initial_weights, psnr, siren
from symnet.data.small_cnn_zoo import read_small_cnn_zoo, read_zoo_split, zoo_parts
from symnet.data.wild_park import read_wild_park
from symnet.errors import StateFileError
from symnet.files import read_state_file, write_state_file

__all__ = [
    "Adapter",
    "Augmented",
    "BrokenShardError",
    "Compose",
    "Corpus",
    "Digits",
    "Dropout",
    "FitRecipe",
    "LabelTable",
    "Mixed",
    "MixedNetworks",
    "NetworkSet",
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
    "read_dws_folders",
    "read_folder",
    "read_labels",
    "read_peft_folder",
    "read_shard",
    "read_siren_folders",
    "read_small_cnn_zoo",
    "read_state_file",
    "read_wild_park",
    "read_zoo_split",
    "siren",
    "split_images",
    "write_shard",
    "write_state_file",
    "zoo_parts",
]


def __dir__() -> list[str]:
    return __all__

"""The sections of a recipe. Every field says its unit and its meaning; nothing here imports torch."""

from avctl.schema.clip import Clip
from avctl.schema.codec import MDCT, Haar, LogMel, Trained
from avctl.schema.crawl import Crawl, Directory, Manifest, Source, Synthetic, Web
from avctl.schema.eval import Eval
from avctl.schema.export import Export
from avctl.schema.model import FrameAutoencoder, JointDiT, SentenceEncoder, WordEncoder
from avctl.schema.preprocess import Content, Decode, Filters, Integrity, Preprocess, Refine, Shots, Split, TransNet
from avctl.schema.recipe import Recipe
from avctl.schema.runtime import Ray, Runtime
from avctl.schema.sample import Request, Sample
from avctl.schema.train import Flow, Optim, TaskMix, TrainAutoencoder, TrainGenerator

__all__ = [
    "MDCT",
    "Clip",
    "Content",
    "Crawl",
    "Decode",
    "Directory",
    "Eval",
    "Export",
    "Filters",
    "Flow",
    "FrameAutoencoder",
    "Haar",
    "Integrity",
    "JointDiT",
    "LogMel",
    "Manifest",
    "Optim",
    "Preprocess",
    "Ray",
    "Recipe",
    "Refine",
    "Request",
    "Runtime",
    "Sample",
    "SentenceEncoder",
    "Shots",
    "Source",
    "Split",
    "Synthetic",
    "TaskMix",
    "TrainAutoencoder",
    "TrainGenerator",
    "Trained",
    "TransNet",
    "Web",
    "WordEncoder",
]

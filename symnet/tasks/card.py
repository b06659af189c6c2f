"""The model card of a run (Mitchell et al., *Model Cards for Model Reporting*, 2019)."""

from __future__ import annotations

from pathlib import Path

from symnet.files import write_file
from symnet.learn.problem import Problem
from symnet.tasks.configuration import Configuration
from symnet.tasks.outcome import Found, heading

__all__ = ["write_card"]

PURPOSE = {
    "accuracy": "It predicts, from the weights of a small CNN, the share of new images that the CNN gets right.",
    "classification": "It names the digit that a network was fitted to, from the weights of that network.",
    "editing": "It changes the weights of a network that shows an image, so that the image is changed as was asked for.",
    "tickets": "It scores the weights of a network that was not trained yet; the best are kept, and only they are trained.",
}
LIMITS = {
    "accuracy": "It has seen CNNs of one architecture, trained on one data set in the ways of its corpus; of others its "
    "prediction means nothing. It is no measure of whether a network is fair or safe.",
    "classification": "It has seen networks of one architecture, fitted by one recipe: fits at another frequency, or with another "
    "start, are foreign to it.",
    "editing": "It has seen networks of one architecture, fitted by one recipe, and one kind of change.",
    "tickets": "It has seen starts of one distribution and one architecture, for one data set and one sparsity.",
}


def write_card(
    found: Found, configuration: Configuration, problem: Problem, table: str, path: Path
) -> None:
    """Writes the card as Markdown."""
    train, validation, test = found.networks
    corpus = configuration.model_dump(mode="json").get("corpus", {})
    lines = [
        f"# Model card: {found.task}",
        "",
        PURPOSE[found.task],
        "",
        "## The networks that it reads",
        "",
        "```text",
        str(problem.graph),
        "```",
        "",
        f"Per seed, {train:,} networks to learn from, {validation:,} to choose the best step by, {test:,} for the figures below. "
        "Corpus: "
        + ", ".join(f"{key} = {value}" for key, value in corpus.items() if value != "")
        + ".",
        "",
        "## What was measured",
        "",
        f"On test networks, mean ± standard deviation over the seeds {', '.join(map(str, configuration.seeds))}. The best step was "
        f"chosen by {heading(found.metric).split(',')[0]} on the validation networks.",
        "",
        table,
        "## What it cannot do",
        "",
        LIMITS[found.task],
        "",
        "## How to use it",
        "",
        "Predictions for networks of your own, a file each: `symnet evaluate trainings/MODEL-seed-N/model.pt --networks FOLDER`. "
        "Reading the model's file executes no code.",
        "",
        f"Trained on {found.machine}; {found.seconds / 60:.0f} minutes in all, {found.corpus_seconds / 60:.0f} of them for the corpus. "
        "Everything random has a seed; `configuration.toml` repeats the run.",
        "",
    ]
    write_file(path, "\n".join(lines))

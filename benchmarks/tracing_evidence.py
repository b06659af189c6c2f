"""What tracing claims, network by network: ``python -m benchmarks.tracing_evidence`` (``--real`` for real sizes).

For every narrow network of the tests: the order of the traced group and whether it is the one worked out by hand; whether
``verify.maximality`` certifies that there is no larger one; the largest error of the function under random elements
(float64, all entries random); how many notes explain pinned axes; how many wrong graphs (one axis of one tensor held still)
the tracer's check notices; the seconds of trace with its check, and of certifying. For real sizes: seconds and memory. Run it from a checkout.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

import symnet as sn
from benchmarks.tracing import error_of, example
from symnet.tracing.examples import float_state
from tests.tracing.broken import broken_actions
from tests.tracing.hugging_face import HUGGING_FACE
from tests.tracing.models import CASES, Case


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, the seconds on the wall, and the seconds of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - processor


def in_words(order: int) -> str:
    return f"{order:.3g}" if order < 1e300 else f"e{math.log10(order):.0f}"


def line(case: Case) -> str:
    """One row of the table."""
    model, inputs, keywords, outputs = example(case)
    graph, wall, processor = timed(lambda: sn.trace(model, *inputs, outputs=outputs, **keywords))
    by_hand = math.prod(
        math.factorial(n) ** (math.prod(over) * count) for n, over, count in case.sets
    )
    report, _, certifying = timed(
        lambda: sn.verify.maximality(model, graph, *inputs, outputs=outputs, **keywords)
    )
    worst = max(
        error_of(case, lambda _, x, k=k: dict(graph.act(graph.random_element(k), x)))
        for k in range(3)
    )
    total, missed = broken_actions(model, graph, case)
    cells = [
        case.name,
        in_words(graph.order),
        "yes" if graph.order == by_hand else f"no, {in_words(by_hand)}",
        "yes" if report.certified else f"no, at most {in_words(report.bound)}",
        f"{worst:.0e}",
        str(len(graph.notes)),
        f"{total - len(missed)} of {total}",
        f"{wall:.2f} ({processor:.2f})",
        f"{certifying:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


# ---- real sizes -----------------------------------------------------------------------------------------------------
def _tokens() -> Tensor:
    return torch.randint(1000, (2, 8), generator=torch.Generator().manual_seed(0))


def _images() -> Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def real_networks() -> dict[str, Callable[[], tuple[nn.Module, Tensor, dict[str, Any]]]]:
    """Networks of Hugging Face transformers with their default configurations and random entries."""
    import transformers as hf

    t5 = {"decoder_input_ids": _tokens(), "use_cache": False, "outputs": ["logits"]}
    small = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}
    return {
        "ResNet-50": lambda: (hf.ResNetForImageClassification(hf.ResNetConfig()), _images(), {}),
        "ViT-B": lambda: (hf.ViTForImageClassification(hf.ViTConfig()), _images(), {}),
        "GPT-2": lambda: (hf.GPT2LMHeadModel(hf.GPT2Config()), _tokens(), {"use_cache": False}),
        "BERT-base": lambda: (hf.BertForSequenceClassification(hf.BertConfig()), _tokens(), {}),
        "T5-small": lambda: (hf.T5ForConditionalGeneration(hf.T5Config(**small)), _tokens(), t5),
        "Swin-T": lambda: (hf.SwinForImageClassification(hf.SwinConfig()), _images(), {}),
    }


def _measure(name: str, sender: Any) -> None:
    warnings.simplefilter("ignore")
    model, inputs, keywords = real_networks()[name]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph, wall, processor = timed(lambda: sn.trace(model, inputs, **keywords))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    entries = {n: t.detach() for n, t in float_state(model)[0].items() if n in graph.weights}
    element = graph.random_element(seed=0)
    _, apply, applying = timed(lambda: graph.act(element, entries))
    moved = sum(bool(s.group.generators) for s in graph.neurons.values())
    count = sum(t.numel() for t in entries.values())
    cells = [
        name,
        f"{count / 1e6:.0f} M",
        f"{wall:.1f} ({processor:.1f})",
        f"{apply:.2f} ({applying:.2f})",
        f"{peak / 2**20:.1f} GiB",
    ]
    sender.send(
        "| "
        + " | ".join([*cells, f"{before / 2**20:.1f} GiB", str(moved), str(len(graph.notes))])
        + " |"
    )


def real_line(name: str) -> str:
    """One row of the table of real sizes, measured in a process of its own."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_measure, args=(name, sender))
    process.start()
    sender.close()
    try:
        return str(receiver.recv())
    except EOFError:
        return f"| {name} | did not end | | | | | | |"
    finally:
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="networks; all of them unless given")
    parser.add_argument("--real", action="store_true", help="real sizes instead of narrow ones")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    example_graph = sn.trace(
        *example(CASES[0])[:1], *example(CASES[0])[1]
    )  # what is loaded once is nobody's time
    assert example_graph.order > 1
    print(f"{datetime.now(UTC):%Y-%m-%d}, one thread, torch {torch.__version__}.\n")
    if arguments.real:
        print(
            "| network | entries | trace, s (CPU) | apply, s (CPU) | memory at most | before | sets that move | notes |"
        )
        print(f"|{'---|' * 8}")
        for name in real_networks():
            if not arguments.names or name in arguments.names:
                print(real_line(name), flush=True)
        return
    print("| network | order | as by hand | certified maximal | error | notes | wrong graphs noticed | trace, s (CPU) | certify, s (CPU) |")  # fmt: skip
    print(f"|{'---|' * 9}")
    for case in [*CASES, *(HUGGING_FACE if find_spec("transformers") else [])]:
        if not arguments.names or case.name in arguments.names:
            print(line(case), flush=True)


if __name__ == "__main__":
    main()

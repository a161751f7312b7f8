"""The speed part of ``planner estimate``: its options, and how what is said is printed."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from planner.cli import values

if TYPE_CHECKING:  # loaded where speed is asked for
    from planner.speed.forecast import Forecast, Load, Range

_GRADES = {
    "measured here": "load tests of your own of this server (planner calibrate)",
    "measured": "kernels measured on this GPU",
    "class": "kernels measured on a GPU of this class",
    "analogy": "some kernels by analogy",
}


def speed_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that ask for speed."""
    for option in reversed(
        (
            click.option("--input-tokens", type=values.tokens, metavar="N", help="Tokens of a prompt: asks how fast."),
            click.option("--output-tokens", type=values.tokens, metavar="N", help="Tokens of an answer."),
            click.option("--concurrency", type=click.IntRange(min=1), help="Requests at once; 1 if not given."),
            click.option("--request-rate", type=values.rate, metavar="X", help="Requests per second, instead."),
            click.option(
                "--cached-prompt", type=values.part, metavar="F", help="Share of a prompt the prefix cache has."
            ),
        )
    ):
        command = option(command)
    return command


def asked_load(
    input_tokens: int | None,
    output_tokens: int | None,
    concurrency: int | None,
    request_rate: float | None,
    cached_prompt: float | None,
) -> "Load | None":
    """Return the load asked about, or None where nothing of it is given."""
    if input_tokens is None and output_tokens is None:
        if concurrency or request_rate or cached_prompt is not None:
            raise click.UsageError("How fast a server is depends on --input-tokens and --output-tokens.")
        return None
    if input_tokens is None or output_tokens is None:
        raise click.UsageError("--input-tokens and --output-tokens go together.")
    if concurrency and request_rate:
        raise click.UsageError("Give --concurrency or --request-rate, not both.")
    from planner.speed.forecast import Load
    from planner.speed.serving import Requests

    cached = int(input_tokens * (cached_prompt or 0.0))
    requests = Requests(input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=cached)
    return Load(requests=requests, concurrency=None if request_rate else concurrency or 1, rate_per_second=request_rate)


def speed_lines(load: "Load", said: "Forecast") -> Iterator[str]:
    """Yield the lines that state a server's speed."""
    asked = f"{load.rate_per_second:g} requests/s" if load.rate_per_second else f"{load.concurrency} at once"
    requests = load.requests
    cached = f", {requests.cached_tokens} of them cached," if requests.cached_tokens else ""
    yield f"  speed at {asked}, {requests.input_tokens} tokens in{cached} {requests.output_tokens} out"
    if said.reason is not None or not (said.tpot_us and said.ttft_us and said.output_millitokens_per_second):
        yield f"    nothing is said: {said.reason}"
        return
    yield _line("per output token", said.tpot_us, 1000, "ms")
    yield _line("first token", said.ttft_us, 1000, "ms")
    yield _line("output", said.output_millitokens_per_second, 1000, "tokens/s")
    yield f"    {_GRADES[said.grade or 'analogy']}; {said.running_sequences:.1f} requests running on average"
    yield from (f"    note: {note}" for note in said.notes)


def _line(name: str, own: "Range", scale: int, unit: str) -> str:
    value, low, high = (f"{figure / scale:,.1f}" for figure in (own.value, own.low, own.high))
    return f"    {name:<16} {value:>12} {unit:<8}   {low} to {high}"

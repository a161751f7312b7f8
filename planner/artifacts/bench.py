"""The load test of one server: how the engine's own benchmark (``vllm bench serve``) is asked for the planned requests.

Its options are those of ``vllm/benchmarks/serve.py`` and ``datasets``, read in 0.10.2 to 0.33.0;
``tests/data/bench-options.json`` lists them.
"""

from msgspec import Struct

from planner.engine.versions import parse_version
from planner.plan import ServerPlan
from planner.units import ceil_div

# A prompt made of random tokens may come back from its text a few tokens longer, and the engine refuses a request
# beyond its context; one token in 64, 16 at least, is left free for that where the request fills the context.
_SLACK = 64
_LEAST_SLACK_TOKENS = 16
# The part of a request that is the answer where the fleet does not say.
_ANSWERS = 4


class Bench(Struct, frozen=True, kw_only=True):
    """One server's load: tokens of a request, and the options that say so; none when the benchmark cannot do it."""

    prompt_tokens: int
    output_tokens: int
    arguments: tuple[str, ...]


def bench(server: ServerPlan, version: str) -> Bench:
    """Return the load of one server in the benchmark of one engine version.

    Before 0.11.0 ``--endpoint-type`` chose the API and ``--backend`` nothing; rerankers can be loaded from 0.12.0.

    Raises:
        UnknownName: the text is not a version.
    """
    key = parse_version(version)
    slack = max(_LEAST_SLACK_TOKENS, ceil_div(server.max_model_len, _SLACK))
    output = 0 if server.pooling else server.output_tokens or max(1, server.request_tokens // _ANSWERS)
    prompt = max(1, min(server.request_tokens, server.max_model_len - slack) - output)
    arguments = ["--backend" if key >= (0, 11, 0) else "--endpoint-type"]
    if server.task == "transcription":  # its data sets are recordings, which the benchmark would download
        return Bench(prompt_tokens=0, output_tokens=0, arguments=())
    if server.task == "rerank":
        if key < (0, 12, 0):
            return Bench(prompt_tokens=prompt, output_tokens=0, arguments=())
        arguments += ["vllm-rerank", "--endpoint", "/v1/rerank", "--dataset-name", "random-rerank"]
    elif server.pooling:
        arguments += ["openai-embeddings", "--endpoint", "/v1/embeddings", "--dataset-name", "random"]
    else:
        arguments += ["openai", "--endpoint", "/v1/completions", "--dataset-name", "random"]
    arguments += ["--random-input-len", str(prompt)]
    if output:
        arguments += ["--random-output-len", str(output), "--ignore-eos"]
        arguments += ["--percentile-metrics", "ttft,tpot,e2el"]
    else:
        arguments += ["--percentile-metrics", "e2el"]
    if server.trust_remote_code:
        arguments.append("--trust-remote-code")
    return Bench(prompt_tokens=prompt, output_tokens=output, arguments=tuple(arguments))

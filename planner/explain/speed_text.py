"""Where the time of a role's servers goes, in words, and what one step up would buy."""

from collections.abc import Iterator

from planner.plan import ServerPlan, ServerSpeed
from planner.plan.account import RoleSpeed, SpeedStep

_PARTS = {
    "reading weights": "weights_us",
    "reading the KV cache": "cache_us",
    "computing": "computing_us",
    "summing over GPUs": "all_reduce_us",
    "the engine": "engine_us",
    "prompts of others": "prompts_us",
}


def speed_lines(own: RoleSpeed, server: ServerPlan) -> Iterator[str]:
    """Yield what binds the time of a token and of the first one, then one line for each step up.

    ``server`` is one of the role's, to compare with.
    """
    parts = own.parts
    terms = {name: getattr(parts, field) for name, field in _PARTS.items()}
    told = ", ".join(f"{name} {_ms(value)} ms" for name, value in terms.items() if value)
    token = f"a token takes {_ms(parts.token_us)} ms where nobody shares its GPUs: {told}"
    yield f"{token}; what limits it is {parts.binds}"
    first = f"its prompt {_ms(parts.own_prompt_us)} ms, waiting for the prompts of others {_ms(parts.waiting_us)} ms"
    whole = _ms(parts.own_prompt_us + parts.waiting_us)
    yield f"the first token takes {whole} ms: {first}; what limits it is {parts.first_binds}"
    for step in own.steps:
        yield _step(step, server)


def speed_unsaid(server: ServerPlan) -> str:
    """Say why a plan gives no speed of a server; nothing where it gives one."""
    if server.speed is not None:
        return server.speed.reason or ""
    if server.pooling:
        return "it generates no tokens"
    return f"roles.{server.role}.request does not say how many tokens a request reads and writes"


def pace(speed: ServerSpeed | None) -> str:
    """Write tokens per second of one request and seconds to its first token; nothing where they are not known."""
    if speed is None or not (speed.tpot_us and speed.ttft_us):
        return ""
    return f"{1e6 / speed.tpot_us.value:.1f} tokens/s each after {speed.ttft_us.value / 1e6:.1f} s"


def _step(step: SpeedStep, server: ServerPlan) -> str:
    change = {
        "gpu": f"on {step.then} instead of {step.now}",
        "tensor_parallel": f"split over {step.then} GPUs instead of {step.now}",
        "scheme": f"as {step.then} instead of {step.now}",
    }[step.what]
    if step.reason:
        return f"{change}: nothing is said of its speed: {step.reason}"
    gained = f"{1e6 / step.tpot_us:.1f} tokens/s each, first token after {step.ttft_us / 1e6:.2f} s"
    now = ""
    if server.speed and server.speed.tpot_us and server.speed.ttft_us:
        now = f" instead of {1e6 / server.speed.tpot_us.value:.1f} and {server.speed.ttft_us.value / 1e6:.2f} s"
    room = "" if step.fits else "; it does not fit an empty GPU"
    return f"{change} it would write {gained}{now}{room}"


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:.1f}"

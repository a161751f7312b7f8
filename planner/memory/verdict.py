"""The engine's reasons for not starting that have to do with memory, worded as it words them, in GiB."""

from planner.engine.flags import ServeFlags
from planner.units import format_gib


def not_enough_free(requested_bytes: int, free_bytes: int, flags: ServeFlags, total_bytes: int) -> str:
    """Word the start-up check of free memory against the utilization."""
    return (
        f"free memory on device ({format_gib(free_bytes)} of {format_gib(total_bytes)}) is less than the desired "
        f"utilization ({flags.gpu_memory_utilization:g}, {format_gib(requested_bytes)}): lower "
        f"gpu_memory_utilization or free {format_gib(requested_bytes - free_bytes)}"
    )


def weights_do_not_fit(weights_bytes: int, free_bytes: int) -> str:
    """Word running out of memory while loading."""
    return (
        f"CUDA out of memory while loading: the weights take {format_gib(weights_bytes)} and "
        f"{format_gib(max(0, free_bytes))} are free"
    )


def no_cache_memory(available_bytes: int) -> str:
    """Word a budget that weights, activations and overheads use up."""
    return (
        f"no memory for the cache blocks: weights, activations and overheads exceed the budget by "
        f"{format_gib(-available_bytes)}; raise gpu_memory_utilization, lower max_num_seqs or max_num_batched_tokens, "
        "or quantize"
    )


def request_too_long(needed_bytes: int, available_bytes: int, max_model_len: int, longest: int) -> str:
    """Word a cache that cannot hold one request of max_model_len."""
    hint = f"the longest that fits is {longest} tokens" if longest else "no length fits"
    return (
        f"one request of max_model_len {max_model_len} needs {format_gib(needed_bytes)} of KV cache and "
        f"{format_gib(available_bytes)} are available; {hint}"
    )


def graphs_do_not_fit(graph_bytes: int, left_bytes: int) -> str:
    """Word running out of memory while graphs are captured, which older budgets do not cover."""
    return (
        f"CUDA out of memory while capturing graphs: they take {format_gib(graph_bytes)} and "
        f"{format_gib(max(0, left_bytes))} are left; lower gpu_memory_utilization or set enforce_eager"
    )


def sampler_does_not_fit(sampler_bytes: int, left_bytes: int, rows: int) -> str:
    """Word running out of memory when the sampler is run once more, beside the KV cache and the captured graphs."""
    return (
        f"CUDA out of memory when warming up the sampler with {rows} requests: it takes {format_gib(sampler_bytes)} "
        f"and {format_gib(max(0, left_bytes))} are left beside KV cache and CUDA graphs; lower max_num_seqs or "
        "gpu_memory_utilization"
    )


def profile_does_not_fit(activation_bytes: int, left_bytes: int, rows: int) -> str:
    """Word running out of memory in the profile run itself."""
    return (
        f"CUDA out of memory when warming up with {rows} sequences: the activation peak is "
        f"{format_gib(activation_bytes)} and {format_gib(max(0, left_bytes))} are left; lower max_num_seqs or "
        "max_num_batched_tokens"
    )


def too_many_sequences(max_num_seqs: int, blocks: int) -> str:
    """Word the check that every sequence gets a block of recurrent state."""
    return (
        f"max_num_seqs ({max_num_seqs}) exceeds available Mamba cache blocks ({blocks}): each sequence needs one for "
        "its recurrent state; lower max_num_seqs or raise gpu_memory_utilization"
    )

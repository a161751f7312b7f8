"""The rules of KV-cache planning that changed between engine versions, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KVRules:
    """How one engine version groups layers, counts blocks and words its log line. Defaults are those of 0.33.

    ``hybrid_groups``: sliding-window layers get groups of their own; otherwise they are kept like full attention.
    ``chunked_groups``: the same for chunked local attention, which the engine switches off by default.
    ``in_flight_batches``: batches of ``max_num_batched_tokens`` a window must hold besides itself (one stage).
    ``batches_grow_with_stages``: each further pipeline stage adds one.
    ``pad_groups_percent``: when the largest bucket of layers is below this share of the smallest, groups are padded
    to the largest instead of cut to the smallest (0: never).
    ``null_block_in_check``: the fit check sets aside the block that stands for "no block".
    ``tokens_from_concurrency``: the logged token count is concurrency × context, not blocks × block size.
    ``state_blocks``: blocks of recurrent state one sequence holds (2 when prefix caching aligns states to blocks).
    """

    hybrid_groups: bool = True
    chunked_groups: bool = False
    in_flight_batches: int = 2
    batches_grow_with_stages: bool = True
    pad_groups_percent: int = 150
    null_block_in_check: bool = True
    tokens_from_concurrency: bool = True
    state_blocks: int = 2

    def window_tokens(self, max_num_batched_tokens: int, stages: int) -> int:
        """Return the tokens in flight that a sliding window must hold besides itself."""
        batches = self.in_flight_batches + (stages - 1 if self.batches_grow_with_stages else 0)
        return batches * max_num_batched_tokens

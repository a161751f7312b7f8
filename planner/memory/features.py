"""What the engine refuses of adapters and of drafting tokens ahead, before it loads anything."""

from collections.abc import Iterator

from planner.architecture import Architecture
from planner.engine.adapters import LARGEST_VOCABULARY, RANK_ONE_SINCE, RANKS, adapter_classes, since
from planner.engine.eagle3 import gives_states
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.engine.rules import Refusal, refused
from planner.engine.speculation import DRAFTED, SINCE, Speculation
from planner.engine.versions import parse_version
from planner.memory.lora import head_takes_adapters


def feature_reasons(architecture: Architecture, flags: ServeFlags, profile: EngineProfile) -> Iterator[Refusal]:
    """Yield why this engine version does not start a model with the adapters or the drafts of its flags."""
    if architecture.target_hidden_size:
        yield refused("drafts-alone", architecture=architecture.name)
    if flags.max_loras:
        yield from _adapters(architecture, flags, profile)
    if flags.speculative:
        yield from _drafts(architecture, flags, flags.speculative, profile)


def _adapters(architecture: Architecture, flags: ServeFlags, profile: EngineProfile) -> Iterator[Refusal]:
    name, rank = architecture.name, flags.max_lora_rank
    if not since(profile.version, adapter_classes().takes, name):
        yield refused("adapters-class", engine=str(profile), architecture=name)
    old = parse_version(profile.version) < parse_version(RANK_ONE_SINCE)
    ranks = RANKS[1:] if old else RANKS
    if rank not in ranks:
        yield refused("adapters-rank", rank=rank, known=", ".join(map(str, ranks)))
    if head_takes_adapters(architecture, flags, profile) and architecture.vocab_size > LARGEST_VOCABULARY:
        yield refused("adapters-vocabulary", vocabulary=architecture.vocab_size, largest=LARGEST_VOCABULARY)
    rows = flags.max_num_seqs * flags.query_tokens
    if flags.speculative and flags.max_num_batched_tokens < rows:
        yield refused("adapters-drafts", batch=flags.max_num_batched_tokens, rows=rows)


def _drafts(
    architecture: Architecture, flags: ServeFlags, wanted: Speculation, profile: EngineProfile
) -> Iterator[Refusal]:
    first = SINCE[wanted.method]
    if parse_version(profile.version) < parse_version(first):
        yield refused("drafts-method", engine=str(profile), method=wanted.method, first=first)
    if architecture.is_pooling:
        yield refused("drafts-pooling", architecture=architecture.name)
    if wanted.method == "mtp" and not architecture.drafted:
        yield refused("drafts-heads", architecture=architecture.name)
    heads = architecture.drafted
    if heads and wanted.tokens > heads and wanted.tokens % heads:
        yield refused("drafts-tokens", tokens=wanted.tokens, heads=heads)
    if wanted.method in DRAFTED:
        yield from _drafter(architecture, wanted, profile)
    if flags.pipeline_parallel_size > 1:
        yield refused("drafts-stages", stages=flags.pipeline_parallel_size)
    if flags.max_num_batched_tokens <= wanted.lookahead_tokens:
        yield refused("drafts-slots", batch=flags.max_num_batched_tokens, slots=wanted.lookahead_tokens)


def _drafter(architecture: Architecture, wanted: Speculation, profile: EngineProfile) -> Iterator[Refusal]:
    """Yield why a checkpoint that drafts does not go with the model."""
    other, head = architecture.drafter, wanted.method == "eagle3"
    if other is None or bool(other.target_hidden_size) != head:
        yield refused("drafts-model", method=wanted.method, model=wanted.model or "no model")
        return
    if other.vocab_size != architecture.vocab_size:
        yield refused("drafts-vocabulary", own=architecture.vocab_size, drafter=other.vocab_size)
    if head and other.target_hidden_size != architecture.hidden_size:
        yield refused("drafts-states", own=architecture.hidden_size, drafter=other.target_hidden_size)
    if head and not gives_states(profile.version, architecture.name, architecture.model_type):
        yield refused("drafts-class", engine=str(profile), architecture=architecture.name)

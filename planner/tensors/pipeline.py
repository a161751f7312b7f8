"""Pipeline stages: which layers a rank holds."""


def stage_layers(num_layers: int, stages: int, stage: int) -> tuple[int, int]:
    """Return the half-open range of layers of one pipeline stage.

    Each stage holds ``num_layers // stages``; the remainder goes one each to the stages before the last, starting
    with the one next to it (vllm/distributed/utils.py:get_pp_indices).
    """
    sizes = [num_layers // stages] * stages
    for offset in range(num_layers % stages):
        sizes[stages - 2 - offset] += 1
    first = sum(sizes[:stage])
    return first, first + sizes[stage]

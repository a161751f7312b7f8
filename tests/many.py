"""The page of a plan with a thousand servers, as facts made by hand."""

from msgspec.structs import replace
from plans import plan, server
from test_report import example

from planner.plan import plan_to_yaml
from planner.report import View
from planner.report.memory import gpu_bars
from planner.report.starts import starts


def many_servers() -> View:
    """A thousand servers of one role on 32 nodes with 8 GPUs each."""
    own = plan(
        *(
            server(f"s-{i}", gpu_indices=(i % 8,), node=f"n-{i // 32:03}", port=8001 + i, role="chat")
            for i in range(1000)
        )
    )
    _, like = example()
    return replace(like, servers=own.servers, bars=gpu_bars(own), starts=starts(own), plan_text=plan_to_yaml(own))

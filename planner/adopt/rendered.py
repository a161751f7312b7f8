"""The planner's own launch.sh: what it says of each server stands in one function, which is asked for every one."""

import itertools
import re
from collections.abc import Iterator

from msgspec.structs import replace

from planner.adopt.launch import Launch, launches
from planner.adopt.scope import Scope
from planner.adopt.shell import commands

_PLAN = re.compile(r"\A.*^plan_of\(\) \{$.*?^\}$", re.M | re.S)
_ASK = """
for server in "${servers[@]}"; do
  plan_of "${server}"
  rendered-server "${server}" "${gpus[*]}" "${after[*]}"
  vllm serve "${arguments[@]}"
done
"""


def is_launch_script(text: str) -> bool:
    """Whether a script was rendered by the planner to start servers."""
    return "# Rendered by planner for fleet " in text[:200] and _PLAN.search(text) is not None


def servers(text: str, scope: Scope) -> Iterator[tuple[str, Launch, tuple[str, ...]]]:
    """Yield the name of each server, its start, and the servers that are up before it."""
    plan = _PLAN.search(text)
    found = commands(f"{plan[0]}\n{_ASK}" if plan else "", scope)
    engine = re.search(r"^readonly engine=([\w.]+)$", text, re.M)
    for told, command in itertools.pairwise(found):
        if told.words[0] == "rendered-server":
            name, gpus, after = told.words[1:4]
            for launch in launches(command, scope):
                ids = tuple(gpus.split())
                image = f"vllm:{engine[1]}" if engine else ""
                yield name, replace(launch, name=name, gpus=len(ids), gpu_ids=ids, image=image), tuple(after.split())

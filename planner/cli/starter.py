"""The text of a starter fleet.yaml around its GPUs."""

from msgspec import Struct

from planner.plain_data import as_dict

NAME = "my-fleet"
_STARTER = """\
# A fleet: what has to be served, and on what. Run `planner solve {file}` to plan it.
# Editors complete and check this file when `planner schema > fleet.schema.json` has run beside it and its first line
# is `# yaml-language-server: $schema=./fleet.schema.json`.

# Names the plan's units, containers and folders.
name: {name}

# The engine; without a version it is the newest one with a memory profile.
engine: vllm

{hardware}
# What to maximise: balanced (accuracy and concurrency together), accuracy, concurrency, cost, or a list in order.
objective: balanced

# One entry per job. The name of a role is the model name that clients ask for.
roles:
  assistant:
    # code, general, reasoning, chat, math, long-context, agent, vision, embedding or rerank
    task: {task}
    # Candidates: catalog names, Hugging Face ids, or folders (./my-model) with a config.json.
    # Without this key every catalog model for the task is one.
    {models}
    # Tokens of prompt and answer together: what must fit, and what would be nice.
    context: {context}
    # Requests served at once without waiting for memory.
    concurrency: {{min: 1, target: 8}}
    # The length of a usual request, at which concurrency is counted; without it the full context.
    request: {request}
    # Quantization keeps at least this much of the unquantized model's score, in percent.
    accuracy: {{recovery: 95}}
    # Counts this much in the balanced objective, relative to other roles.
    weight: 1
"""
_ONE_MACHINE = """\
gpu:
  name: {gpu}
  count: {count}
  index: {index}
  # What others hold on it: a desktop, another process.
  memory_in_use: {memory_in_use}
"""


class StarterRole(Struct, frozen=True, kw_only=True):
    """What the one role of a starter says, as the file has it."""

    task: str = "general"
    models: str = "# models: [Qwen2.5-14B-Instruct, Mistral-7B-Instruct-v0.3]"
    context: str = "{min: 8k, wish: 32k}"
    request: str = "{prompt_tokens: 3k, output_tokens: 1k}"


ANY_MODEL = StarterRole()


def starter(file: str, hardware: str, name: str = NAME, role: StarterRole = ANY_MODEL) -> str:
    """Return a commented fleet for a file; ``hardware`` is its ``gpu`` or its ``nodes``, as text that ends a line."""
    return _STARTER.format(file=file, name=name, hardware=hardware, **as_dict(role))


def one_machine(gpu: str, count: int, index: int, memory_in_use: str) -> str:
    """Return the GPUs of one machine."""
    return _ONE_MACHINE.format(gpu=gpu, count=count, index=index, memory_in_use=memory_in_use)

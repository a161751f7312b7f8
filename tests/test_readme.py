"""What the operator's README tells to type exists: every file, option, service, unit and object in a command of it."""

import itertools
import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatch

import parsed
import plans
import pytest
from msgspec.structs import replace
from test_kubernetes import apart
from test_nodes import two_nodes

from planner.artifacts import DEFAULT_TARGETS, EXTRA_TARGETS, File, render
from planner.plan import Plan

LOCAL = (*DEFAULT_TARGETS, "quadlet", "kubernetes", "litellm")
CASES = {
    "two": (plans.two_roles(), LOCAL),
    "many": (plans.many_roles(), LOCAL),
    "all": (replace(apart(), engine_version="0.32.0"), (*DEFAULT_TARGETS, *EXTRA_TARGETS)),
    "script": (plans.two_roles(), ("script",)),
    "odd": (plans.plan(plans.server("A b"), fleet="Ä b"), LOCAL),
}
# What is there without being rendered: programs of the machine, and verbs whose operands are checked below.
PROGRAMS = {
    "cp", "chmod", "docker", "sudo", "systemctl", "journalctl", "podman", "kubectl", "helm", "set", ".", "haproxy",
    "planner", "serve", "ray",
}  # fmt: skip
HEADINGS = {
    "script": "## With the scripts", "compose": "## With Docker Compose", "systemd": "## With systemd",
    "quadlet": "## With Podman", "kubernetes": "## In Kubernetes", "helm-values": "## With the Helm chart",
    "litellm": "## With LiteLLM behind the router", "ray-serve": "## With Ray Serve",
    "kserve": "## With KServe",
}  # fmt: skip


def commands(readme: str) -> Iterator[list[str]]:
    """Every command in a block or a span of a page, split into words as the shell would."""
    lines = [line for block in re.findall("^```sh\n(.*?)^```", readme, re.M | re.S) for line in block.splitlines()]
    prose = re.sub("^```sh\n.*?^```", "", readme, flags=re.M | re.S)
    lines += [span for span in re.findall("`([^`\n]+)`", prose) if span.startswith(("./", "docker ", "planner "))]
    for line in lines:
        for part in re.split("&&|;", line.split(" # ")[0]):
            yield shlex.split(part.replace("<", " < "), comments=True)


@pytest.mark.parametrize(("plan", "targets"), CASES.values(), ids=CASES)
def test_every_command_is_about_something_that_is_there(plan: Plan, targets: tuple[str, ...]) -> None:
    files = render(plan, targets=targets)
    found = list(commands(files["README.md"].text))

    assert len(found) > 8
    for words in found:
        follow(words, files)


@pytest.mark.parametrize(("plan", "targets"), CASES.values(), ids=CASES)
def test_there_is_a_part_for_every_target_and_no_other(plan: Plan, targets: tuple[str, ...]) -> None:
    readme = render(plan, targets=targets)["README.md"].text

    assert {name for name, heading in HEADINGS.items() if f"\n{heading}\n" in readme} == set(targets) & HEADINGS.keys()


def test_the_page_before_several_machines() -> None:
    files = render(two_nodes(), targets=(*DEFAULT_TARGETS, "kubernetes"))

    for words in commands(files["README.md"].text):
        follow(words, files)
    assert HEADINGS["kubernetes"] in files["README.md"].text
    assert HEADINGS["script"] not in files["README.md"].text
    assert HEADINGS["script"] in files["rack-1/README.md"].text
    assert HEADINGS["kubernetes"] not in files["rack-1/README.md"].text


def follow(words: list[str], files: dict[str, File]) -> None:
    """Assert that a command names nothing that was not rendered."""
    words = [word for word in words if not word.startswith("PLANNER_ROUTER=")]
    words = words[words[0] == "sudo" :]
    program, *rest = words
    if "<" in rest:
        assert rest[rest.index("<") + 1] in files, words
        assert rest[rest.index("<") - 1] in server_names(files), words
    if "/" in program:
        path = program.removeprefix("./")
        assert files[path].executable, words
        for operand in rest:
            assert operand in server_names(files) or f"{operand}" in subcommands(files[path].text), words
        return
    assert program in PROGRAMS, words
    follow_operands(program, rest, files)


def follow_operands(program: str, rest: list[str], files: dict[str, File]) -> None:
    """Assert that services, units and objects that a program is told about are in the files it reads."""
    if program == "docker":
        services = parsed.one(files["compose.yaml"].text)["services"]
        overlays = [value for flag, value in itertools.pairwise(rest) if flag == "--file"]
        assert all(path in files for path in overlays)
        verb, *operands = [word for word in rest[1:] if not word.startswith("-") and word not in overlays]
        assert verb in {"run", "up", "ps", "logs", "exec", "stop", "down", "kill"}
        assert not operands or operands[-1 if verb == "logs" else 0] in services, rest
    for unit in re.findall(r"planner-\S+\.(?:target|service)|planner-\S+--\*", " ".join(rest)):
        assert program in {"systemctl", "journalctl"}
        units = {path.rpartition("/")[2].replace(".container", ".service") for path in files}
        assert any(fnmatch(one, unit) for one in units), unit
    if program == "podman":
        assert f"ContainerName={rest[2]}\n" in "".join(file.text for file in files.values())
    if program == "kubectl":
        follow_kubectl(rest, files)
    if program == "haproxy":
        assert rest[-1] in files


def follow_kubectl(rest: list[str], files: dict[str, File]) -> None:
    documents = [
        document
        for path, file in files.items()
        if path.startswith("kubernetes/") and path.endswith(".yaml") and "kustomization" not in path
        for document in parsed.every(file.text)
    ]
    objects = [(document["kind"].lower(), document["metadata"]["name"]) for document in documents]
    pods = [document["spec"]["template"]["spec"] for document in documents if document["kind"] == "Deployment"]
    containers = {one["name"] for pod in pods for one in (*pod.get("initContainers", ()), *pod["containers"])}
    text = "".join(file.text for path, file in files.items() if path.startswith("kubernetes/"))
    for flag, value in zip(rest, [*rest[1:], ""], strict=True):
        kind, _, name = flag.partition("/")
        if kind in {"deployment", "job"} and name:
            assert (kind, name) in objects, flag
        if flag == "-k":
            assert f"{value}/kustomization.yaml" in files
        if flag == "-f":
            assert value in files
        if flag == "-c":
            assert value in containers
        if flag == "-l":
            assert value.replace("=", ': "') + '"' in text
        if flag == "generic":
            assert f"secretKeyRef: {{ name: {value}," in text


def server_names(files: dict[str, File]) -> set[str]:
    """The servers as the scripts call them."""
    text = (files.get("load.sh") or files["kubernetes/load.sh"]).text
    (block,) = re.findall(r"^readonly servers=\(\n(.*?)^\)", text, re.M | re.S)
    return set(shlex.split(block))


def subcommands(script: str) -> set[str]:
    """What the usage at the top of a script lists."""
    return set(re.findall(r"^#   (?:sudo )?\S+\.sh ([a-z]+)", script, re.M))

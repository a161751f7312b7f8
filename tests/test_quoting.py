"""Whatever a name contains, each language gives exactly that name back."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planner.artifacts import quoting

HOSTILE = [
    "coder", "two words", "it's", 'say "hi"', "$(touch /tmp/owned)", "`id`", "a\nb: c\n- d", "50% of %h", "${HOME}",
    "$$", "back\\slash\\", "übung/模型 名", "#no comment", "- item", "null", "\u2028line", "tab\there", "a;b",
    "{{ 7 * 7 }}", "'; exit 1; '", "%(x)s", "\x1b[31m", "😀", "-rf", "--", "key: [a, b]", "\ufeffbom", "",
]  # fmt: skip
# Surrogates and NUL cannot be in a file name, an environment or a YAML file at all.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@given(TEXT)
def test_shell_gives_the_word_back(text: str) -> None:
    assert shlex.split(quoting.shell(text)) == [text]


@pytest.mark.parametrize("text", HOSTILE)
def test_bash_gives_the_word_back(text: str) -> None:
    script = f"printf '%s' {quoting.shell(text)}"

    assert subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout == text.encode()


@given(TEXT)
def test_yaml_gives_the_scalar_back(text: str) -> None:
    document = f"key: {quoting.yaml(text)}\nlist:\n  - {quoting.yaml(text)}\n"

    assert yaml.safe_load(document) == {"key": text, "list": [text]}


@given(TEXT)
def test_compose_doubles_every_dollar(text: str) -> None:
    assert yaml.safe_load(quoting.compose(text)) == text.replace("$", "$$")


@given(TEXT)
def test_json_gives_the_string_back_in_ascii(text: str) -> None:
    written = quoting.json_text(text)

    assert json.loads(written) == text
    assert written.isascii()
    assert "\n" not in written


@given(TEXT)
def test_comments_stay_on_their_line(text: str) -> None:
    assert len(quoting.comment(text).splitlines()) <= 1
    assert len(quoting.systemd_text(text).splitlines()) <= 1


@given(TEXT, TEXT)
def test_slugs_are_safe_and_distinct(one: str, other: str) -> None:
    slug = quoting.slug(one)

    assert slug
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert slug[0] not in ".-"
    assert (slug == quoting.slug(other)) == (one == other)


@settings(max_examples=500)
@given(*[st.text("ab-._", min_size=1, max_size=5)] * 4)
@example("a", "b-c", "a-b", "c")
@example("a", "-b", "a-", "b")
@example("a--b", "c", "a", "b--c")
def test_two_names_joined_are_no_other_two(fleet: str, server: str, other_fleet: str, other_server: str) -> None:
    """The unit of one server of one fleet is not that of another server of another fleet."""
    same = (fleet, server) == (other_fleet, other_server)

    assert (
        f"{quoting.slug(fleet)}--{quoting.slug(server)}" == f"{quoting.slug(other_fleet)}--{quoting.slug(other_server)}"
    ) is same


def test_admitted_role_names_are_their_own_slug() -> None:
    for name in ("coder", "a.b", "general-2", "x_y", "0"):
        assert quoting.slug(name) == name


@given(TEXT)
def test_labels_are_dns_labels(text: str) -> None:
    label = quoting.label(text)

    assert 1 <= len(label) <= 63
    assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not label.startswith("-")
    assert not label.endswith("-")


@pytest.mark.parametrize("text", HOSTILE)
def test_systemd_gives_the_argument_back(text: str, tmp_path: Path) -> None:
    """systemd-analyze itself splits and unescapes the line; it names the program it cannot find."""
    unit = tmp_path / "quoted.service"
    unit.write_text(f"[Service]\nExecStart=/bin/true {quoting.systemd(text)}\n", encoding="utf-8")
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stderr
    assert "quoted.service" not in run.stderr


def test_nul_is_refused() -> None:
    for quote in (quoting.shell, quoting.yaml, quoting.compose, quoting.systemd, quoting.haproxy):
        with pytest.raises(ValueError, match="NUL"):
            quote("a\0b")

"""No secret of somebody's files or logs is repeated in what is said about them."""

import json
from pathlib import Path

import pytest
from commands import run

from planner.logs.secrets import is_secret, line_without_secrets

COMPOSE = """
services:
  a:
    image: vllm/vllm-openai:v0.33.0
    environment:
      - HF_TOKEN=hunter2-of-the-hub
      - VLLM_API_KEY=$OWN_KEY
      - PROXY=http://me:hunter2@proxy:3128
    command: --model Qwen/Qwen2.5-7B-Instruct --api-key hunter2 --tokenizer-mode auto --max-model-len 4096
"""
LOG = """\
INFO 09-01 10:00:00 [api_server.py:1] vLLM API server version 0.11.0
INFO 09-01 10:00:00 [utils.py:233] non-default args: {'model': 'Qwen/Qwen2.5-7B-Instruct', 'api_key': ['hunter2']}
ERROR 09-01 10:00:01 [core.py:1] ValueError: the server refuses token='hunter2' and Bearer hunter2hunter2
"""


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_check_names_the_variables_and_hides_what_is_in_them(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE, encoding="utf-8")

    code, printed = run("check", str(tmp_path / "compose.yaml"), "--gpu", "l40s", *options)

    assert code == 0
    assert "hunter2" not in printed
    if options:
        (server,) = json.loads(printed)["servers"]
        assert server["environment"] == {"HF_TOKEN": "***", "VLLM_API_KEY": "${OWN_KEY}",
                                         "PROXY": "http://***@proxy:3128"}  # fmt: skip
        assert server["flags"] == {"api-key": ["***"], "tokenizer-mode": "auto", "max-model-len": 4096}


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_diagnose_hides_them_in_the_line_and_in_the_arguments(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "vllm.log").write_text(LOG, encoding="utf-8")

    printed = run("diagnose", str(tmp_path / "vllm.log"), *options)[1]

    assert "ValueError: the server refuses" in printed
    assert "hunter2" not in printed


@pytest.mark.parametrize("name", ["api-key", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "db.password", "hf_token"])
def test_these_are_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["max-num-batched-tokens", "tokenizer", "ssl-keyfile", "long-prefill-token-threshold"])
def test_these_are_none(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "line",
    [
        "even a single token. Please increase gpu_memory_utilization (0.5)",
        "GPU KV cache size: 149,792 tokens",
        "Model loading took 14.25 GiB and 3.1 seconds, key: value",
        "max_tokens=4096",
        "with time per output token: 20 ms, and one token request after another",
        "--tokenizer-mode auto --max-num-batched-tokens 8192",
    ],
)
def test_a_line_about_tokens_stays_as_it_is(line: str) -> None:
    assert line_without_secrets(line) == line

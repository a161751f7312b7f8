#!/usr/bin/env bash
# Two of the backends that vLLM has for structured outputs let a model write different documents for one JSON Schema.
#
# outlines_core 0.2.14 (backend "outlines") leaves out `minimum` and `multipleOf`, forbids properties that the schema does
# not name, and holds `pattern` to the whole string. llguidance 1.7.6 (backend "guidance") keeps the bounds, lets further
# properties in, and searches for the pattern, as JSON Schema says. Neither says a word. A schema that was tried with one
# is another schema with the other; so are the tokens that answers take.
#
# Seen with outlines_core 0.2.14 and llguidance 1.7.6 on Python 3.11:
#   {"type": "integer", "minimum": 5}  3: outlines yes, guidance no
#   {"type": "number", "multipleOf": 0.1}  0.35: outlines yes, guidance no
#   {"type": "object", "properties": {"n": {"type": "integer"}}}  {"n":1,"m":1}: outlines no, guidance yes
#   {"type": "string", "pattern": "ab"}  "cabd": outlines no, guidance yes
# Exits with 1 when it says otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check outlines_core==0.2.14 llguidance==1.7.6

cat >"${folder}/ask.py" <<'PY'
import json
import re
import sys

from llguidance import LLMatcher, LLTokenizer
from outlines_core.json_schema import build_regex_from_schema

TOKENIZER = LLTokenizer("byte")


def outlines(schema: str, text: str) -> bool:
    return re.fullmatch(build_regex_from_schema(schema), text) is not None


def guidance(schema: str, text: str) -> bool:
    matcher = LLMatcher(TOKENIZER, LLMatcher.grammar_from_json_schema(schema))
    tokens = TOKENIZER.tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


CASES = (
    ({"type": "integer", "minimum": 5}, "3", True, False),
    ({"type": "number", "multipleOf": 0.1}, "0.35", True, False),
    ({"type": "object", "properties": {"n": {"type": "integer"}}}, '{"n":1,"m":1}', False, True),
    ({"type": "string", "pattern": "ab"}, '"cabd"', False, True),
)
as_seen = True
for schema, text, *expected in CASES:
    seen = [ask(json.dumps(schema), text) for ask in (outlines, guidance)]
    as_seen &= seen == expected
    said = ["yes" if one else "no" for one in seen]
    print(f"{json.dumps(schema)}  {text}: outlines {said[0]}, guidance {said[1]}")
sys.exit(not as_seen)
PY
"${folder}/env/bin/python" "${folder}/ask.py"

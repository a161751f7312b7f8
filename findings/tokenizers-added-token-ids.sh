#!/usr/bin/env bash
# tokenizers does not keep the ids that tokenizer.json states for added tokens: it counts on from the vocabulary, in the
# order of the list.
#
# With a gap before an added token (a reserved one was taken out of the file, say) every token behind the gap gets a lower
# id than the file states; two entries that stand the other way round swap their ids. Loading says nothing. The rows of the
# embedding and `eos_token_id` of config.json still follow the file.
#
# Seen with tokenizers 0.23.3 on Python 3.11 (a vocabulary of 3; the file says <bos> 3, <eos> 10):
#   as in the file    -> <bos> 3, <eos> 4, 5 tokens
#   list turned round -> <bos> 4, <eos> 3, 5 tokens
# Exits with 1 when the ids of the file are kept or the order no longer decides.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3

cat >"${folder}/ask.py" <<'PY'
import json
import sys

from tokenizers import Tokenizer

FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
ADDED = [{"id": 3, "content": "<bos>", **FLAGS}, {"id": 10, "content": "<eos>", **FLAGS}]
MODEL = {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "<unk>": 2}, "unk_token": "<unk>"}
EMPTY = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
seen = []
for what, added in (("as in the file   ", ADDED), ("list turned round", ADDED[::-1])):
    tokenizer = Tokenizer.from_str(json.dumps({"version": "1.0", **EMPTY, "added_tokens": added, "model": MODEL}))
    (begin,), (end,) = tokenizer.encode("<bos>").ids, tokenizer.encode("<eos>").ids
    seen.append((begin, end, tokenizer.get_vocab_size()))
    print(f"{what} -> <bos> {begin}, <eos> {end}, {seen[-1][2]} tokens")
sys.exit(seen != [(3, 4, 5), (4, 3, 5)])
PY
"${folder}/env/bin/python" "${folder}/ask.py"

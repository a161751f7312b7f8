"""Templates compiled in an earlier run: compiling all of them takes more time than filling them in."""

import base64
import binascii
import hashlib
from pathlib import Path

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from planner.cache import keep, recall


class Compiled(BytecodeCache):
    """Jinja's bytecode in the user's cache, under the digest of the template's text and of the filters' source.

    Jinja works out filters of constants while it compiles, so bytecode is only good for the filters it was made with.
    It passes over what another version of it or of Python wrote by itself.
    """

    def __init__(self, *filters: str) -> None:
        """Take the source files that hold the filters."""
        self._digest = hashlib.sha256(b"".join(Path(file).read_bytes() for file in filters)).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket with what was kept for its text, if anything was."""
        found = recall(f"template-{bucket.key}", self._of(bucket))
        try:
            bucket.bytecode_from_string(base64.b64decode(found or "", validate=True))
        except (binascii.Error, EOFError, TypeError, ValueError):  # not what was written here: it is compiled anew
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled."""
        keep(f"template-{bucket.key}", self._of(bucket), base64.b64encode(bucket.bytecode_to_string()).decode())

    def _of(self, bucket: Bucket) -> str:
        return f"{self._digest} {bucket.checksum}"

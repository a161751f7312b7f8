"""Items of a prompt that are not text: how many a role lets in, and the option that says so."""

import json

from msgspec import Struct

from planner.engine.options import Words


class Images(Struct, frozen=True, kw_only=True):
    """Most items of a kind in one prompt: images, and videos (None: as many as the context holds)."""

    per_request: int
    videos: int | None = None

    @property
    def limits(self) -> dict[str, int]:
        """What the engine is told, by its names of the kinds."""
        found = {"image": self.per_request}
        return found if self.videos is None else {**found, "video": self.videos}


def write_images(images: Images) -> Words:
    """Return what follows ``--limit-mm-per-prompt``."""
    return (json.dumps(images.limits, separators=(",", ":")),)


def read_images(words: Words) -> Images:
    """Return the limits that ``--limit-mm-per-prompt`` states.

    Raises:
        ValueError: it is no JSON object with a number of images.
    """
    stated = json.loads(" ".join(words))
    if not isinstance(stated, dict) or not isinstance(stated.get("image"), int):
        raise ValueError("the limit of images is a JSON object with a number for image")
    return Images(per_request=stated["image"], videos=stated.get("video"))


def say_images(images: Images) -> str:
    """Write it for people: ``4 in a request, no videos``."""
    videos = "" if images.videos is None else f", {images.videos or 'no'} video{'s' * (images.videos != 1)}"
    return f"{images.per_request} in a request{videos}"

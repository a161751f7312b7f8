"""The planner's own version, which every plan carries in its lock."""

VERSION = "0.1.0"

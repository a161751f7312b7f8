"""What the command line exits with; docs/exit-codes.md says when. 2 is click's own, for a wrong command line."""

EXIT_PROVEN = 0
EXIT_ERROR = 1
EXIT_NO_PLAN = 3
EXIT_NOT_PROVEN = 4
EXIT_FILES_DIFFER = 5
EXIT_INTERRUPTED = 130

"""Options that take all the files that follow them, as a shell expands them."""

from collections.abc import Callable, Iterator, Sequence

import click

from planner.cli.stdin import InputFile


class ManyFiles(click.Command):
    """A command with such options, made by ``many_files``: ``--from a b`` reads as ``--from a --from b``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat an option before each file that follows it, up to the next option, then parse as ever."""
        many = {name for option in self.params if isinstance(option, _ManyFiles) for name in option.opts}
        return super().parse_args(ctx, list(_repeated(args, many)))


class _ManyFiles(click.Option):
    pass


def many_files(name: str, said: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Give a command of class ``ManyFiles`` an option for files that are there."""
    there = InputFile(exists=True, named=lambda _: "<stdin>")
    return click.option(name, cls=_ManyFiles, multiple=True, type=there, metavar="FILE...", help=said)


def _repeated(args: Sequence[str], many: set[str]) -> Iterator[str]:
    name = ""
    first = False
    for arg in args:
        if arg.startswith("-") and not (first and arg == "-"):  # standard input directly behind the option
            name, first = (arg, True) if arg in many else ("", False)
            yield arg
        elif name and not first:
            yield from (name, arg)
        else:
            first = False
            yield arg

"""Console for the results of a command."""

from rich.console import Console


class OutputConsole(Console):
    """Console on standard output, which leaves it to the program when its reader goes away."""

    def on_broken_pipe(self) -> None:
        """Raise the error that Rich would turn into the end of the process."""
        self.quiet = True
        raise BrokenPipeError

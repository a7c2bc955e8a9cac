"""Errors that a person can act on: what is wrong, where, and what to do next.

Every other room raises these; only `toolkit.cli` shows them. `exit_code` is the contract of the command line:
1 error, 2 usage, 3 prohibited or needs a separate licence, 4 needs review, 5 obligations open or verification failed.
"""

from collections.abc import Iterable
from typing import NamedTuple


class TkError(Exception):
    """Something went wrong that the reader can mend. `where` is `file:line` or a path, `hint` the next step."""

    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint


class UsageError(TkError):
    """The command line itself asks for something that does not exist or does not go together."""

    exit_code = 2


class Refused(TkError):
    """The gate said no. `exit_code` is 3 (prohibited, needs a separate licence) or 4 (needs review)."""

    def __init__(self, message: str, *, exit_code: int, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, where=where, hint=hint)
        self.exit_code = exit_code


class NotFulfilled(TkError):
    """A release owes something that nobody has given, or its contents are not what its papers say."""

    exit_code = 5


class Problem(NamedTuple):
    """One thing wrong with one place of an input: `recipe.train.lerning_rate`, what is wrong, `file:line`."""

    path: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.where})" if self.where else text


class InvalidInput(TkError):
    """An input with one or more problems, all reported at once."""

    def __init__(self, problems: Iterable[Problem], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        if not self.problems:
            raise ValueError("InvalidInput needs at least one problem")
        super().__init__("\n".join(str(problem) for problem in self.problems), hint=hint)

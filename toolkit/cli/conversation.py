"""A conversation on a terminal: what is typed, the answer as it is written, and what can be switched meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from toolkit.errors import TkError

if TYPE_CHECKING:
    from toolkit.training.chat import Chat, Sampling

HELP = """\
/adapter   answer with the adapter (as it begins)
/base      answer with the base alone; the conversation goes on
/again     answer the last question once more, after a switch say
/reset     forget the conversation
/help      this list
/quit      end, as does Ctrl-D; Ctrl-C stops an answer"""


def converse(chat: Chat, sampling: Sampling, opening: Sequence[dict[str, str]], *, adapter: bool) -> None:
    """Ask, answer, and remember, until the person leaves. `opening` is what every conversation begins with."""
    _enable_line_editing()
    click.echo("/help lists what can be switched, Ctrl-D ends.", err=True)
    history = list(opening)
    while (typed := _ask()) is not None:
        word = typed.strip()
        if word in ("/quit", "/exit"):
            return
        if word in ("/adapter", "/base"):
            adapter = word == "/adapter"
            click.echo("Now with the adapter." if adapter else "Now the base alone.", err=True)
        elif word == "/reset":
            history = list(opening)
            click.echo("Forgotten.", err=True)
        elif word == "/again":
            asked = _last_question(history)
            if asked is None:
                click.echo("Nothing was asked yet.", err=True)
                continue
            history = history[: asked + 1]
            _answer(chat, sampling, history, adapter)
        elif word.startswith("/"):
            click.echo(HELP if word == "/help" else f"There is no {word}.\n{HELP}", err=True)
        elif word:
            history.append({"role": "user", "content": typed})
            _answer(chat, sampling, history, adapter)


def _answer(chat: Chat, sampling: Sampling, history: list[dict[str, str]], adapter: bool) -> None:
    """Show the answer to `history` while it is written, and append it; one that was stopped counts as far as it went."""
    said: list[str] = []

    def show(text: str) -> None:
        said.append(text)
        click.echo(text, nl=False)

    click.echo(click.style("model> " if adapter else "base> ", bold=True), nl=False)
    try:
        answer = chat.reply(history, sampling, adapter=adapter, on_text=show)
        click.echo()
    except KeyboardInterrupt:
        answer = "".join(said)
        click.echo(" … stopped")
    except TkError as error:  # said, and not the end: what was typed can be typed otherwise
        click.echo()
        click.echo(f"Error: {error.message}" + (f"\n  Next: {error.hint}" if error.hint else ""), err=True)
        history.pop()
        return
    history.append({"role": "assistant", "content": answer})


def _ask() -> str | None:
    """A line that was typed; None at the end of input. Ctrl-C gives an empty line up and nothing more."""
    try:
        return input("you> ")
    except EOFError:
        click.echo()
        return None
    except KeyboardInterrupt:
        click.echo()
        return ""


def _last_question(history: Sequence[dict[str, str]]) -> int | None:
    return next((index for index in reversed(range(len(history))) if history[index]["role"] == "user"), None)


def _enable_line_editing() -> None:
    """Arrow keys and history in `input`, where Python was built with them."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401

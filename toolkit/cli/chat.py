"""`tk chat`: talk to a run, with its adapter or without."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.options import access, format_option, offline_option, print_json, run_argument

if TYPE_CHECKING:
    from toolkit.training.chat import Chat


@click.command("chat")
@run_argument
@click.option("--prompt", help="Answer this and stop; without it, a conversation, or one prompt per line of input.")
@click.option("--system", help="What stands before the conversation as the system's message.")
@click.option("--base", "base_only", is_flag=True, help="Answer with the base alone, the adapter switched off.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=128, show_default=True, help="Longest answer.")
@click.option("--temperature", type=click.FloatRange(0, 10), default=0.0, show_default=True, help="0 is greedy.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Makes draws repeat; for a temperature above 0.")
@offline_option
@format_option
def command(
    run: Path,
    prompt: str | None,
    system: str | None,
    base_only: bool,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int | None,
    offline: bool,
    format_: str,
) -> None:
    """Talk to the model of a run: its base with the adapter, through the base's own chat template.

    On a terminal this is a conversation: words come as they are written, Ctrl-C stops an answer, Ctrl-D ends, and /help
    lists what can be switched, such as /base and /adapter. Lines from a pipe are questions of their own, answered one
    by one. With --format json, the answer to --prompt is one object, other answers are one object a line.

    \b
    Examples:
      tk chat runs/embedded-qwen-lora --prompt "My order 48213 has not arrived."
      tk chat runs/embedded-qwen-lora --base < prompts.txt
    """
    from toolkit.cli.conversation import converse
    from toolkit.errors import UsageError
    from toolkit.training.chat import Sampling

    if temperature == 0 and (seed is not None or top_p < 1):
        raise UsageError("--seed and --top-p do nothing while the temperature is 0; add --temperature 0.7, say")
    sampling = Sampling(max_new_tokens, temperature, top_p, seed)
    chat = _load(run, offline)
    opening = [{"role": "system", "content": system}] if system else []
    if prompt is None and format_ == "text" and sys.stdin.isatty() and sys.stdout.isatty():
        converse(chat, sampling, opening, adapter=not base_only)
        return
    for asked in [prompt] if prompt is not None else _prompts():
        answer = chat.reply([*opening, {"role": "user", "content": asked}], sampling, adapter=not base_only)
        if format_ == "json":
            print_json({"prompt": asked, "answer": answer, "adapter": not base_only}, one_line=prompt is None)
        else:
            click.echo(answer)


def _load(run: Path, offline: bool) -> Chat:
    from toolkit.models.reference import parse_reference
    from toolkit.models.resolve import resolve
    from toolkit.release.record import read_record
    from toolkit.training.chat import load_chat
    from toolkit.training.environment import prepare
    from toolkit.training.trained import base_reference

    prepare()
    record = read_record(run)
    snapshot = resolve(parse_reference(base_reference(record)), access(offline, weights=True))
    return load_chat(run, snapshot.local_folder(), record)


def _prompts() -> Iterator[str]:
    """Questions that have nothing to do with one another, one a line, from a pipe or until an empty line is typed."""
    if sys.stdin.isatty():
        while text := click.prompt("you", prompt_suffix="> ", default="", show_default=False, err=True):
            yield text
    for line in sys.stdin if not sys.stdin.isatty() else ():
        if line.strip():
            yield line.rstrip("\n")

"""`tk chat`: talk to a run, with its adapter or without."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from toolkit.cli.options import access, format_option, offline_option, print_json, run_argument


@click.command("chat")
@run_argument
@click.option("--prompt", help="Answer this and stop; without it, one prompt per line of input.")
@click.option("--base", "base_only", is_flag=True, help="Answer with the base alone, the adapter switched off.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=128, show_default=True)
@offline_option
@format_option
def command(run: Path, prompt: str | None, base_only: bool, max_new_tokens: int, offline: bool, format_: str) -> None:
    """Talk to the model of a run: its base with the adapter, greedy, through the base's own chat template.

    With --format json, the answer to --prompt is one object, and the answers to lines of input are one object a line.

    \b
    Examples:
      tk chat runs/embedded-qwen-lora --prompt "My order 48213 has not arrived."
      tk chat runs/embedded-qwen-lora --base < prompts.txt
    """
    from toolkit.models.reference import parse_reference
    from toolkit.models.resolve import resolve
    from toolkit.release.record import read_record, text
    from toolkit.training.chat import load_chat
    from toolkit.training.environment import prepare

    prepare()
    record = read_record(run)
    base = text(record, "recipe.resolved.base") or text(record, "base.id") or ""
    revision = text(record, "base.revision")
    pinned = f"{base.partition('@')[0]}@{revision}" if revision else base
    snapshot = resolve(parse_reference(pinned), access(offline, weights=True))
    chat = load_chat(run, snapshot.local_folder(), record)
    for asked in [prompt] if prompt is not None else _prompts():
        history = [{"role": "user", "content": asked}]
        answer = chat.reply(history, max_new_tokens=max_new_tokens, adapter=not base_only)
        if format_ == "json":
            print_json({"prompt": asked, "answer": answer, "adapter": not base_only}, one_line=prompt is None)
        else:
            click.echo(answer)


def _prompts() -> Iterator[str]:
    """Prompts from a terminal until an empty line, or from a pipe, one a line."""
    if sys.stdin.isatty():
        while text := click.prompt("you", prompt_suffix="> ", default="", show_default=False, err=True):
            yield text
    for line in sys.stdin if not sys.stdin.isatty() else ():
        if line.strip():
            yield line.rstrip("\n")

"""The whole journey on the embedded base, as a person would type it: check, plan, train, card, release, verify."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECIPE = "recipes/embedded-qwen-lora.yaml"
RUN = "runs/demo"
RELEASE = "releases/demo"
PROMPT = "Hello. The desk lamp of order 48213 arrived broken. This cannot wait."


def tk(*arguments: str, expect: int = 0) -> None:
    """Show and run one `tk` command; stop the demo when it ends otherwise than expected."""
    print(f"\n$ tk {shlex.join(arguments)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "toolkit", *arguments], cwd=ROOT, check=False).returncode
    if code != expect:
        sys.exit(f"the demo stopped: tk {arguments[0]} ended with {code}, expected {expect}")


def main() -> None:
    started = time.monotonic()
    for folder in (RUN, RELEASE, f"{RELEASE}-edited"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    tk("license-check", "embedded:qwen2", "--distribution", "internal", "--commercial")
    tk("license-check", "Qwen/Qwen2.5-3B", "--distribution", "internal", "--commercial", "--offline", expect=3)
    tk("plan", RECIPE)
    tk("finetune", RECIPE, "--set", f"output={RUN}")
    tk("chat", RUN, "--prompt", PROMPT)
    tk("card", RUN, "--to", f"{RUN}/card.md")
    tk("release", RUN, "--to", RELEASE)
    tk("verify", RELEASE)
    print("\nOne byte of the adapter is changed in a copy of the release:")
    _change_one_byte()
    tk("verify", f"{RELEASE}-edited", expect=5)
    print(f"\nDone in {time.monotonic() - started:.0f} s. Look at {RELEASE}/card.html and {RELEASE}/README.md.")


def _change_one_byte() -> None:
    copy = ROOT / f"{RELEASE}-edited"
    shutil.copytree(ROOT / RELEASE, copy)
    adapter = copy / "adapter_model.safetensors"
    content = bytearray(adapter.read_bytes())
    content[-1] ^= 1
    adapter.write_bytes(bytes(content))


if __name__ == "__main__":
    main()

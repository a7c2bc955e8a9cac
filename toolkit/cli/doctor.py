"""`tk doctor`: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from toolkit.cli.options import format_option, print_json

_EXTRAS = {
    "train": ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "accelerate"),
    "release": ("spdx-tools", "spdx-python-model", "cyclonedx-python-lib"),
    "gguf": ("gguf",),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `needed` checks decide the exit code."""

    name: str
    ok: bool
    says: str
    needed: bool = True


@click.command("doctor")
@format_option
@click.pass_context
def command(ctx: click.Context, format_: str) -> None:
    """Look at this machine: Python, packages, devices, caches, licence data. Opens no network connection.

    Exit code: 0 when `tk license-check` and `tk plan` can run and what is installed is whole, 1 otherwise.

    \b
    Examples:
      tk doctor
      tk doctor --format json
    """
    checks = [_python(), *_packages(), _data(), _device(), *_caches()]
    if format_ == "json":
        print_json({"schema": "tk/doctor/1", "ok": _well(checks), "checks": [asdict(check) for check in checks]})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark = "ok" if check.ok else ("!!" if check.needed else "--")
            click.echo(f"{mark}  {check.name:{width}}  {check.says}")
    ctx.exit(0 if _well(checks) else 1)


def _well(checks: list[Check]) -> bool:
    return all(check.ok for check in checks if check.needed)


def _python() -> Check:
    version = platform.python_version()
    return Check("python", sys.version_info >= (3, 11), f"{version} on {platform.system()} {platform.machine()}")


def _packages() -> list[Check]:
    """One line per extra: its versions when whole, the command that completes it when not."""
    from importlib.metadata import PackageNotFoundError, version

    checks = []
    for extra, names in _EXTRAS.items():
        found: dict[str, str] = {}
        for name in names:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
        absent = [name for name in names if name not in found]
        says = ", ".join(f"{name} {number}" for name, number in found.items())
        if absent:
            says = f"without {', '.join(absent)}; pip install 'tk-toolkit[{extra}]'"
        checks.append(Check(f"extra {extra}", not absent, says, needed=False))
    return checks


def _data() -> Check:
    from toolkit.errors import TkError
    from toolkit.licensing.library import library

    try:
        known = library()
        for identifier in known.ids:
            known.terms(identifier)
    except TkError as error:
        return Check("licence data", False, error.message)
    return Check("licence data", bool(known.ids), f"{len(known.ids)} documents, version {known.words.version}")


def _device() -> Check:
    from toolkit.planning.detect import detect

    device = detect()
    total = device.total_bytes / 2**30
    free = f", {device.free_bytes / 2**30:.1f} free" if device.free_bytes is not None else ""
    count = f"{device.count} x " if device.count > 1 else ""
    return Check("device", True, f"{count}{device.name} ({device.kind}), {total:.1f} GiB{free}", needed=False)


def _caches() -> list[Check]:
    from toolkit.models.embedded_bases import cache_folder
    from toolkit.models.resolve import hub_cache, offline_by_environment

    own, hub = cache_folder(), hub_cache()
    network = "offline by the environment" if offline_by_environment() else "allowed"
    return [
        Check("tk cache", _writable(own), f"{own}{'' if _writable(own) else ' cannot be written; set TK_CACHE'}"),
        Check("hub cache", hub.is_dir(), f"{hub}{'' if hub.is_dir() else ' (made on first download)'}", needed=False),
        Check("network", True, network, needed=False),
    ]


def _writable(folder: Path) -> bool:
    import os

    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(nearest, os.W_OK)

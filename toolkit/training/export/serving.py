"""What a vLLM server needs: its settings (`serve.yaml`) and the script that starts it (`serve.sh`).

The script first checks by SHA-256, with nothing but the shell's own tools, that base and adapter are the ones of the
run, and then serves that very folder: an adapter on another base gives answers that look like answers.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import TkError
from toolkit.files.atomic import staged_folder, write_text
from toolkit.files.digests import sha256_file
from toolkit.release.facts import Facts
from toolkit.release.form import ADAPTER
from toolkit.release.record import Record, mapping, read_json, text
from toolkit.training.export.papers import Papers, write_papers
from toolkit.training.export.report import ExportReport
from toolkit.training.trained import LOADED, require_base, trusts_remote_code

# What vLLM takes for `max_lora_rank` (vllm/config/lora.py, MaxLoRARanks): nothing between is accepted.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)

_SCRIPT = """\
#!/bin/sh
# Serves {name} with vLLM, after seeing that {what} of the run {run}.
# Arguments go to vLLM: ./serve.sh --port 8080
set -eu
cd "$(dirname "$0")"
{find}check() {{
    if ! (cd "$1" && sha256sum --check --strict --quiet - >&2) < "$2"; then
        echo "$1 is not what the run was made with (see $2); not served" >&2
        exit 1
    fi
}}
{checks}
exec vllm serve {served} --config serve.yaml "$@"
"""


def export_adapter_for_vllm(
    run: Path, papers: Papers, base: Path, target: Path, *, overwrite: bool = False
) -> ExportReport:
    """Write the adapter of a run with what serves it to the folder `target`, or leave nothing there.

    Raises TkError when `base` is not its base, or the adapter is of a kind that vLLM does not serve.
    """
    record, facts = papers.record, papers.facts
    config = read_json(run / "adapter" / "adapter_config.json")
    assert isinstance(config, dict)
    rank = served_rank(config)
    require_base(base, record)
    with staged_folder(target, overwrite=overwrite) as staging:
        adapter = staging / "adapter"
        adapter.mkdir()
        for file in mapping(record, "adapter.files"):
            name = Path(file).name
            if Path(name).suffix in (".safetensors", ".json", ".jinja", ".model"):
                (adapter / name).write_bytes((run / file).read_bytes())
        write_text(staging / "base.sha256", _sums(_base_digests(record)))
        write_text(staging / "adapter.sha256", _sums({path.name: sha256_file(path) for path in adapter.iterdir()}))
        settings = {
            "served-model-name": [facts.base.name],
            "tokenizer": "adapter",  # its chat template and end token are those that were trained with
            "enable-lora": True,
            "max-lora-rank": rank,
            "lora-modules": [
                f'{{"name": "{_slug(facts)}", "path": "adapter", "base_model_name": "{facts.base.name}"}}'
            ],
            **_common(record),
        }
        _write_serving(
            staging, facts, settings, what="base and adapter are those", find=_find_base(facts, base),
            checks='check "$base" base.sha256\ncheck adapter adapter.sha256', served='"$base"',
        )  # fmt: skip
        paper = write_papers(papers, ADAPTER, None, staging)
    return ExportReport(target, paper)


def write_serving(staging: Path, facts: Facts, dtype: str) -> None:
    """Add what serves the merged weights in `staging` to them."""
    files = [path for path in staging.iterdir() if path.suffix in LOADED]
    write_text(staging / "weights.sha256", _sums({path.name: sha256_file(path) for path in files}))
    settings = {"served-model-name": [_slug(facts)], **_common(facts.record), "dtype": dtype}
    _write_serving(
        staging,
        facts,
        settings,
        what="every file is as it came out",
        find="",
        checks="check . weights.sha256",
        served=".",
    )


def _write_serving(
    staging: Path, facts: Facts, settings: Mapping[str, Any], *, what: str, find: str, checks: str, served: str
) -> None:
    run = text(facts.record, "id") or ""
    script = _SCRIPT.format(name=_slug(facts), what=what, run=run, find=find, checks=checks, served=served)
    write_text(staging / "serve.sh", script)
    (staging / "serve.sh").chmod(0o755)
    write_text(staging / "serve.yaml", _yaml(settings))


def served_rank(config: Mapping[str, Any]) -> int:
    """The smallest rank that vLLM reserves for and that holds the adapter."""
    instead = "export the merged weights: tk export RUN --merge --vllm"
    kinds = {
        "use_dora": "DoRA",
        "target_parameters": "an adapter on routed experts or other parameters",
        "modules_to_save": "whole matrices beside the adapter",
        "trainable_token_indices": "new tokens",
        "lora_bias": "biases in the adapter",
    }
    for key, name in kinds.items():
        if config.get(key):
            raise TkError(f"vLLM does not serve {name} as an adapter", where=key, hint=instead)
    highest = max([int(config["r"]), *(int(rank) for rank in (config.get("rank_pattern") or {}).values())])
    if highest > RANKS[-1]:
        raise TkError(f"vLLM serves adapters up to rank {RANKS[-1]}, and this one has {highest}", hint=instead)
    return next(rank for rank in RANKS if rank >= highest)


def _base_digests(record: Record) -> dict[str, str]:
    files = mapping(record, "base.files").items()
    return {name: text(entry, "sha256") or "" for name, entry in files if Path(name).suffix in LOADED}


def _find_base(facts: Facts, base: Path) -> str:
    """Shell that sets `base` to a folder: `TK_BASE`, else the pinned revision from the hub, else where it lay."""
    if facts.base.is_hub:
        at = f" --revision {shlex.quote(facts.base.revision)}" if facts.base.revision else ""
        found = f"base=${{TK_BASE:-$(hf download {shlex.quote(facts.base.name)}{at} --quiet)}}"
    else:
        found = f'base=${{TK_BASE:-}}\n[ -n "$base" ] || base={shlex.quote(str(base.resolve()))}'
    return f"# The folder of the base: TK_BASE, else where it is found.\n{found}\n"


def _common(record: Record) -> dict[str, Any]:
    dtype = text(record, "plan.choices.dtype.value")
    settings: dict[str, Any] = {"dtype": dtype} if dtype else {}
    return settings | ({"trust-remote-code": True} if trusts_remote_code(record) else {})


def _sums(digests: Mapping[str, str]) -> str:
    """Digests as `sha256sum --check` reads them."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def _slug(facts: Facts) -> str:
    return facts.name.replace(" ", "-").replace('"', "")


def _yaml(settings: Mapping[str, Any]) -> str:
    import yaml

    return "# Settings of `vllm serve`; serve.sh checks the weights first.\n" + str(
        yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
    )

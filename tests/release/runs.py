"""Run folders made by hand for the tests of the release room: an Apache base used inside, a Llama base passed on."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from toolkit.files.digests import sha256_file, sha256_json
from toolkit.release.record import write_record

LLAMA_NOTICE = (
    "Llama 3.1 is licensed under the Llama 3.1 Community License, Copyright © Meta Platforms, Inc. All Rights Reserved."
)
ATTESTED = {"aup": "J. Doe, 2026-11-23"}

_APACHE = [
    {"id": "apache-2.0", "spdx": "Apache-2.0", "role": "model", "from": "Qwen/Qwen2.5-0.5B", "evidence": "LICENSE file"}
]
_LLAMA = [
    {
        "id": "llama-3.1",
        "spdx": "LicenseRef-scancode-llama-3.1-license-2024",
        "role": "model",
        "from": "meta-llama/Llama-3.1-8B",
        "evidence": "LICENSE file",
    }
]


def owed(
    identifier: str, clause: str, check: str, value: str | None = None, license: str = "llama-3.1"
) -> dict[str, Any]:
    """One obligation of a verdict."""
    return {
        "id": identifier,
        "license": license,
        "clause": clause,
        "text": f"words for {identifier}",
        "value": value,
        "check": check,
    }


LLAMA_OBLIGATIONS = [
    owed("license-copy", "1.b.i.A", "automatic"),
    owed("notice-file", "1.b.iii", "automatic", LLAMA_NOTICE),
    owed("built-with-display", "1.b.i.B", "automatic", "Built with Llama"),
    owed("name-prefix", "1.b.i", "automatic", "Llama"),
    owed("aup", "1.b.iv", "attest"),
]


def apache_run(folder: Path, **changes: Any) -> Path:
    """A run over an Apache-2.0 base for internal use: allowed, nothing owed."""
    return make_run(
        folder,
        "Qwen/Qwen2.5-0.5B",
        _APACHE,
        [],
        {"LICENSE": ("apache-2.0", "license", "Apache License text\n")},
        **changes,
    )


def llama_run(folder: Path, **changes: Any) -> Path:
    """A run over Llama 3.1 whose weights are passed on: everything its licence owes for that."""
    texts = {
        "LICENSE": ("llama-3.1", "license", "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n"),
        "USE_POLICY.md": ("llama-3.1-aup", "policy", "# Acceptable Use Policy\n"),
        "NOTICE": ("llama-3.1", "notice", "A notice that came with the base\n"),
    }
    settings = {
        "use": {
            "purpose": "support assistant",
            "commercial": True,
            "distribution": "weights",
            "release": {"name": "Llama-Acme-8B"},
        },
        **changes,
    }
    return make_run(
        folder, "meta-llama/Llama-3.1-8B", _LLAMA, LLAMA_OBLIGATIONS, settings.pop("texts", texts), **settings
    )


def make_run(
    folder: Path,
    base: str,
    effective: list[dict[str, Any]],
    obligations: list[dict[str, Any]],
    texts: Mapping[str, tuple[str | None, str, str]],
    *,
    use: Mapping[str, Any] | None = None,
    verdict: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    adapter_files: Mapping[str, bytes] | None = None,
) -> Path:
    """A finished run at `folder`. `texts` maps a file of the base to (id, kind, text); `record` replaces keys."""
    files = {
        "adapter_model.safetensors": _safetensors(),
        "adapter_config.json": json.dumps(
            {"base_model_name_or_path": "/home/jane/models/base", "peft_type": "LORA", "r": 8, "revision": None}
        ).encode(),
        "tokenizer.json": b"{}",
        "README.md": b"---\nlicence: license\n---\n",
        "training_args.bin": b"\x80\x04.",
        **(adapter_files or {}),
    }
    for name, content in files.items():
        _write(folder / "adapter" / name, content)
    copies = []
    for name, (terms_id, kind, words) in texts.items():
        path = f"licenses/base/{name}"
        _write(folder / path, words.encode())
        copies.append(
            {"work": base, "id": terms_id, "path": path, "kind": kind, "sha256": sha256(words.encode()).hexdigest()}
        )
    judged = {
        "schema": "tk/verdict/1",
        "target": {"id": base, "revision": None, "source": "hub"},
        "verdict": "allowed-with-obligations" if obligations else "allowed",
        "effective_licenses": effective,
        "obligations": obligations,
        "findings": [],
        "assumptions": ["fewer than 700 million monthly users"],
        "questions": [],
        "tool": "tk 0.1.0",
        "data": "2026-11-23",
        **(verdict or {}),
    }
    stated = dict(use or {"purpose": "support assistant", "commercial": True, "distribution": "internal"})
    value: dict[str, Any] = {
        "schema": "tk/run/1",
        "id": "run-1",
        "started": "2026-11-23T09:00:00+00:00",
        "finished": "2026-11-23T10:00:00+00:00",
        "tool": {"name": "tk", "version": "0.1.0"},
        "recipe": {
            "path": "recipes/support.yaml",
            "sha256": "ab" * 32,
            "resolved": {
                "base": base,
                "method": "sft",
                "data": {"train": "examples/support.jsonl", "license": "CC-BY-4.0"},
                "train": {"epochs": 3, "batch_size": 16},
                "output": "runs/support",
                "trust_remote_code": False,
            },
        },
        "plan": {
            "schema": "tk/plan/1",
            "choices": {
                "adapter": {"value": "lora", "why": "the base fits in bf16"},
                "learning_rate": {"value": 2e-4, "why": "usual for LoRA"},
                "dtype": {"value": "bfloat16", "why": "the GPU has bf16"},
            },
            "fit": "comfortable",
        },
        "verdict": judged,
        "permit": {
            "granted": "2026-11-23T08:59:00+00:00",
            "verdict": judged["verdict"],
            "acknowledged": None,
            "verdict_sha256": sha256_json(judged),
        },
        "use": stated,
        "base": {
            "id": base,
            "revision": "0123456789abcdef0123456789abcdef01234567",
            "source": "hub",
            "parameters": 494032768,
            "files": {
                "model.safetensors": {"sha256": "cd" * 32, "bytes": 988},
                "config.json": {"sha256": "ef" * 32, "bytes": 9},
            },
        },
        "licenses": copies,
        "data": {
            "train": {
                "path": "examples/support.jsonl",
                "sha256": "12" * 32,
                "bytes": 4096,
                "rows": 120,
                "tokens": 9000,
                "format": "messages",
            },
            "eval": {"rows": 12, "how": "fraction 0.1, seed 42"},
            "id": None,
            "license": "CC-BY-4.0",
            "overlong_rows": 0,
            "loss_tokens": 5000,
        },
        "seed": 42,
        "versions": {"python": "3.11.2", "torch": "2.13.0+cpu", "peft": "0.21.2"},
        "hardware": {"device": "cpu", "name": "Test CPU", "cores": 2, "memory_bytes": 2**33, "threads": 1},
        "adapter": {
            "type": "lora",
            "rank": 8,
            "alpha": 16,
            "target_modules": ["q_proj", "v_proj"],
            "trainable_parameters": 540672,
            "files": {
                f"adapter/{name}": {"sha256": sha256_file(folder / "adapter" / name), "bytes": len(content)}
                for name, content in files.items()
            },
        },
        "metrics": {
            "train_loss": 1.2,
            "first_loss": 2.0,
            "last_loss": 0.8,
            "steps": 24,
            "epochs": 3.0,
            "tokens_seen": 27000,
            "train_seconds": 30.0,
            "wall_seconds": 41.5,
            "tokens_per_second": 900.0,
            "peak_memory_bytes": 2**30,
            "planned_peak_bytes": 2**30 + 2**28,
            "flops": 1.3e14,
        },
        "evaluation": {
            "rows": 12,
            "generated": 8,
            "before": {"loss": 2.5, "perplexity": 12.18, "exact_match": 0.0},
            "after": {"loss": 1.1, "perplexity": 3.0, "exact_match": 0.5},
            "samples": [
                {
                    "prompt": "How do I | reset <b>it</b>?",
                    "expected": "Press\nreset",
                    "before": "…",
                    "after": "Press reset",
                }
            ],
        },
        **(record or {}),
    }
    write_record(folder, value)
    return folder


def change_record(run: Path, path: str, value: object) -> None:
    """Edit one key of a record by hand, as somebody with an editor would."""
    record = json.loads((run / "run.json").read_text())
    *parents, last = path.split(".")
    holder = record
    for key in parents:
        holder = holder[key]
    if value is None:
        holder.pop(last)
    else:
        holder[last] = value
    (run / "run.json").write_text(json.dumps(record))


def _safetensors() -> bytes:
    head = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(8)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

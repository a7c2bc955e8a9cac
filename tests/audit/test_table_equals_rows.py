"""Judged by columns, a table comes out as it does when the works of each row are put together and judged one by one."""

from __future__ import annotations

import json
import random

import pytest

from toolkit.audit.outcome import outcome_of
from toolkit.audit.table.judged import judge_table
from toolkit.licensing.judge import Manner, judge
from toolkit.licensing.library import library
from toolkit.licensing.lineage import Work
from toolkit.licensing.policy import Policy, Waiver
from toolkit.licensing.use import DatasetUse, IntendedUse, OutputsTrain
from toolkit.licensing.verdict import Target
from toolkit.models.lineage import companions, named_after, role_of_target
from toolkit.models.resolve import Access

LIBRARY = library()
NAMES = ["Qwen/Qwen2.5-3B", "meta-llama/Llama-3.1-8B", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "nobody/lost",
         "someone/Qwen2.5-3B-Instruct-GGUF", "TheirOrg/Llama-2-7b-chat", "theirs/Llama-3.1-8B-of-ours", "meta-llama/Llama-2-7b-hf", "https://huggingface.co/Qwen/Qwen2.5-7B"]  # fmt: skip
LICENSES = ["mit", "apache-2.0", "llama3.1", "other", "cc-by-nc-4.0", "unknown", "made-up-1.0", None]
USES = [
    IntendedUse(distribution="internal", commercial=True),
    IntendedUse(distribution="weights", commercial=True, seat="DE", territories=("EU",)),
    IntendedUse(distribution="weights", commercial=False, outputs_train=OutputsTrain("Qwen/Qwen2.5-7B", True)),
    IntendedUse(distribution="hosted-service", datasets=(DatasetUse("tatsu-lab/alpaca", "cc-by-nc-4.0"),)),
]


def random_table(seed: int, rows: int = 60) -> list[dict[str, object]]:
    """Rows of every kind: deep lineages, merges, cycles, bases that are no rows, names that show a base."""
    chance = random.Random(seed)
    own = [f"acme/m{number}" for number in range(rows)]
    own[3], own[4], own[5] = "acme/Qwen2.5-7B-GGUF", "Qwen/Qwen2.5-3B", "acme/Llama-3.1-8B-tuned"
    table = []
    for number, name in enumerate(own):
        row: dict[str, object] = {"id": name, "license": chance.choice(LICENSES), "tags": []}
        if row["license"] == "other":
            row["license_name"] = chance.choice(["qwen-research", "my-terms", None])
        earlier = own[:number] if chance.random() < 0.9 else own  # sometimes a later one: cycles
        count = chance.choice([0, 0, 1, 1, 1, 2, 3])
        bases = [chance.choice(earlier if earlier and chance.random() < 0.7 else NAMES) for _ in range(count)]
        row["tags"] = [f"base_model:{chance.choice(['', 'adapter:', 'quantized:'])}{base}" for base in bases]
        row["pipeline_tag"] = chance.choice([None, "text-generation", "image-text-to-text"])
        table.append(row)
    return table


class Rows:
    """The works of a table put together by following each base, one row at a time."""

    def __init__(self, table: list[dict[str, object]], role: str | None) -> None:
        self.rows = {str(row["id"]).lower(): row for row in reversed(table)}
        self.role = role

    def work(self, name: str, above: tuple[str, ...] = ()) -> Work:
        key = name.lower()
        if "*" in name:  # a pattern of the catalogue, shown by a name
            return Work(name, self.role or "model", "catalogue")
        if key in above:
            return Work(name, self.role or "model", "missing", problem="descends from itself")
        row = self.rows.get(key)
        known = LIBRARY.catalogued(str(row["id"]) if row else name)
        tags = [str(tag).removeprefix("base_model:") for tag in row["tags"]] if row else []  # type: ignore[attr-defined]
        adapter = any(tag.startswith("adapter:") for tag in tags)
        bases = [tag.rpartition(":")[2] if not tag.startswith("http") else tag for tag in tags]
        bases = [tag.removeprefix("//huggingface.co/").removeprefix("https://huggingface.co/") for tag in bases]
        bases += [base for match in known for base in match.pattern.base]
        findings = []
        if not bases and not known and (shown := named_after(name, LIBRARY, None, unread=row is None)):
            bases.append(shown[0])
            findings.append(shown[1])
        if row is None and not known and not bases:
            return Work(name, self.role or "model", "missing", problem="not in the table")
        modes = {"text-generation": ("text",), "image-text-to-text": ("text", "image")}
        heard = modes.get(str(row["pipeline_tag"]), ()) if row else ()
        heard = (*heard, *(mode for match in known for mode in match.pattern.modalities or ()))
        unique = {base.lower(): base for base in reversed(bases)}
        return Work(
            id=name,
            role=self.role or ("adapter" if adapter else "model"),
            source="table" if row else "catalogue" if known else "name",
            declared=(str(row["license"]),) if row and row["license"] else (),
            declared_name=row.get("license_name") if row else None,  # type: ignore[arg-type]
            where="table",
            bases=tuple(self.work(base, (*above, key)) for base in unique.values()),
            findings=tuple(findings),
            modalities=tuple(dict.fromkeys(heard)) or None,
        )


def comparable(outcome):
    return (
        outcome.verdict,
        set(outcome.licenses),
        set(outcome.findings),
        set(outcome.obligations),
        set(outcome.questions),
    )


def manner_of(seed):
    """Strict at times, and at times under a policy that waives a rule for some works only."""
    waivers = [
        Waiver("qwen-research-2024", "use-not-granted", "A", "why", "2099-01-01", "an agreement", works=works)
        for works in [("Qwen/Qwen2.5-3B",), ("acme/m1", "acme/m2", "acme/m7", "acme/m9")]
    ]
    review = Waiver("any", "no-license-declared", "A", "why", "2099-01-01", works=("acme/m0",))
    policy = Policy("policy.yaml", denied=("cc-by-nc-4.0",), waivers=(*waivers, review))
    return Manner(strict=seed % 3 == 0, policy=policy if seed % 2 else None, today="2027-01-01")


@pytest.mark.parametrize("seed", range(8))
def test_a_table_by_columns_equals_its_rows_one_by_one(seed, tmp_path):
    table = random_table(seed)
    path = tmp_path / "hub.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    use, manner = USES[seed % len(USES)], manner_of(seed)
    role = role_of_target(use)
    beside = companions(use, Access(LIBRARY, offline=True))
    judged = judge_table(path, use, LIBRARY, manner, role, beside, lambda _: None)
    works = Rows(table, role)
    for result in judged.results():
        one = (works.work(result.id), *beside)
        alone = outcome_of(judge(Target(result.id, None, "table"), one, use, LIBRARY, manner))
        assert comparable(result.outcome) == comparable(alone), result.id

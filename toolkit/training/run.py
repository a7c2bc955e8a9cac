"""One fine-tuning run from permit to record, in the order in which it happens."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.files.digests import sha256_json
from toolkit.planning.gate import Permit
from toolkit.planning.prepare import require_fit
from toolkit.planning.recipe import Recipe
from toolkit.release.record import write_record
from toolkit.training import environment, run_folder
from toolkit.training.checkpoints import resumable
from toolkit.training.checkup import Checkup
from toolkit.training.curve import Curve
from toolkit.training.data import TrainingData, load_data
from toolkit.training.distributed.state import whole_adapter
from toolkit.training.distributed.strategy import distribute
from toolkit.training.distributed.team import current
from toolkit.training.judging import Judge, measures_of
from toolkit.training.loading import load_adapted
from toolkit.training.methods import method_of
from toolkit.training.progress import Event, Progress, silent
from toolkit.training.rewards import reward_digests
from toolkit.training.settings import settings_of
from toolkit.training.state import under_way
from toolkit.training.tracking import tracked

if TYPE_CHECKING:
    from toolkit.licensing.verdict import Verdict
    from toolkit.models.snapshot import Snapshot
    from toolkit.planning.plan import Plan


def finetune(
    permit: Permit,
    recipe: Recipe,
    plan: Plan,
    snapshot: Snapshot,
    verdict: Verdict,
    *,
    data: TrainingData | None = None,
    overwrite: bool = False,
    offline: bool = False,
    progress: Progress = silent,
) -> Path:
    """Train the adapter that `recipe` asks for, as `plan` says, on the base `snapshot`; gives the run folder.

    `data` is what `load_data` gave for this recipe, where a caller has looked at it already; else it is read here. A run that was stopped goes on from its last checkpoint. `overwrite` discards what an earlier run left in the folder.
    Raises TypeError without a permit; TkError when the permit is for another recipe or verdict, the plan does not fit,
    or the folder holds a finished run; InvalidInput for the data; Stopped on Ctrl-C. A run that fails what
    `evaluate.require` asks ends well and says so in its record (`evaluation.gate`).
    """
    team = current()
    _check_papers(permit, recipe, verdict)
    require_fit(plan, recipe.path)
    if plan.gpus != team.size:
        raise TkError(f"the plan is for {plan.gpus} processes, and {team.size} run it", where=recipe.path)
    measures = measures_of(recipe, offline=offline)
    progress = progress if team.first else silent
    started, begun = _now(), time.monotonic()
    run = team.from_first(lambda: run_folder.open_run(Path(recipe.output), overwrite=overwrite))
    environment.prepare()
    if data is None:
        progress(Event("data", f"reading {', '.join(source.name for source in recipe.data.sources)}"))
        data = load_data(recipe, offline=offline)
    method, settings = method_of(recipe.method), settings_of(recipe, plan.choices, plan.device.kind)
    folder = snapshot.local_folder()

    with environment.quiet_libraries(team.log(run)) as log, ExitStack() as ends:

        def say(event: Event) -> None:
            if event.done is None:
                log.info("%s: %s", event.stage, event.message)
            progress(event)

        from toolkit.training import adapters, record, serving
        from toolkit.training.prepared import prepare_rows
        from toolkit.training.start import begin_from, start_of

        counted = f"{len(data.train)} rows" if data.stream is None else "streamed rows"
        say(Event("data", f"tokenising {counted} to train on and {len(data.held_out)} held out ({data.how})"))
        rows = prepare_rows(recipe, data, method, settings, folder)
        tokenizer, encoded, held_out, settings = rows.tokenizer, rows.encoded, rows.held_out, rows.settings
        asked = recipe.evaluate
        questions = method.questions(data.held_out, held_out, tokenizer, asked)

        base_files = snapshot.files()
        start = start_of(settings, base_files) if settings.start else None
        identity = run_folder.identity(recipe, plan, base_files, data.source.sha256)
        identity["rendering of its rows"] = rows.at_hand.spoken.sha256  # another tokenizer, or the date in a template
        identity |= {"start": start.sha256} if start else {}
        team.agree({**identity, "versions": sha256_json(environment.versions())})
        team.from_first(lambda: run_folder.clear(run, overwrite=overwrite))
        checkpoint = team.from_first(lambda: resumable(run / "checkpoints", identity))
        say(Event("base", f"loading {snapshot.id}" + (f", to go on from {checkpoint.name}" if checkpoint else "")))
        if team.first:
            ends.enter_context(under_way(run, recipe, plan, verdict.level, started))
            named = record.run_id(started, recipe.sha256)
            progress = ends.enter_context(tracked(recipe, plan, verdict, run, named, progress))
        environment.import_trainer()
        peak = environment.PeakMemory(settings.device_type)
        environment.seed_everything(settings.seed)
        loaded = load_adapted(folder, tokenizer, settings, rows.at_hand, converses=method.CONVERSES)
        adapted: Any = loaded.model
        if start:
            begin_from(start, adapted)
        trainable = adapters.trainable_parameters(adapted)
        team.from_first(lambda: run_folder.check_space(run, trainable))
        if checkpoint and settings.sharding == "fsdp2":
            adapters.load_weights(adapted, checkpoint)
        distribute(adapted, settings.sharding, team, settings.device_type)

        judge = Judge(method, adapted, tokenizer, held_out, questions, loaded.stops, recipe, measures, say)
        before = None if judge.idle else judge.before()
        modules = adapters.adapted_modules(adapted)
        kinds = ", ".join(f"{name} {count}" for name, count in adapters.counts(modules).items())
        known = {"planned_memory_bytes": plan.memory.peak_bytes, "baseline_memory_bytes": peak.baseline}
        say(Event("train", f"training {trainable:,} parameters ({kinds})", values=known))
        follow = say
        if asked.every is not None:
            follow = Checkup(asked.every, judge.loss_now, Curve(team.own(run) / "metrics.jsonl"), say)
        trained = method.train(adapted, tokenizer, encoded, settings, run, follow, checkpoint)
        after = None if judge.idle else judge("after")

        say(Event("record", "saving the adapter"))
        peak_bytes = team.largest(peak.bytes())
        whole = whole_adapter(adapted) if settings.sharding == "fsdp2" else None
        if not team.first:
            team.wait()  # until the record is written
            return run
        adapters.save_adapter(adapted, tokenizer, run / "adapter", snapshot.id, snapshot.revision, whole)
        notes = [*rows.notes(data), *trained.notes]
        if start:
            notes.append(f"training, and the evaluation before it, began with the adapter of run {start.id}")
        if served := serving.served_otherwise(run / "adapter", *rows.sampled):
            notes.append(f"the tokenizer saved with the adapter does not render rows as they were trained on: {served}")
        facts = record.Facts(
            started=started,
            finished=_now(),
            wall_seconds=time.monotonic() - begun,
            base_files=base_files,
            base_parameters=loaded.base_parameters,
            licenses=run_folder.copy_licenses(snapshot, verdict.to_json(), run),
            adapter_files=record.digests_of(run / "adapter", "adapter"),
            adapted_modules=modules,
            saved_ranks=adapters.saved_ranks(run / "adapter"),
            trainable_parameters=trainable,
            peak_memory_bytes=peak_bytes,
            baseline_memory_bytes=peak.baseline,
            versions=environment.versions(),
            hardware=environment.hardware(settings.device, plan.device.name),
            notes=notes,
            template={
                **rows.template,
                "rows_compared": len(rows.sampled[0]),
                "served_as_trained": (not served) if rows.sampled[0] else None,
            },
        )
        compared = judge.record(before, after) if before is not None and after is not None else None
        papers = {"verdict": verdict.to_json(), "permit": permit.to_json()}
        value = record.build_record(papers, recipe, plan, snapshot, settings, data, encoded, trained, compared, facts)
        record.add_lineage(value, start, reward_digests(recipe))
        write_record(run, value)
        team.wait()
        say(Event("record", f"done in {facts.wall_seconds:.0f} s"))
    return run


def _check_papers(permit: Permit, recipe: Recipe, verdict: Verdict) -> None:
    if not isinstance(permit, Permit):
        raise TypeError("training takes a Permit, which toolkit.planning.gate.grant makes")
    if permit.recipe_sha256 != recipe.sha256:
        raise TkError("the permit was granted for another recipe", where=recipe.path, hint="ask the gate again")
    if permit.verdict_sha256 != sha256_json(verdict.to_json()):
        raise TkError("the permit was granted under another verdict", where=recipe.path, hint="ask the gate again")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

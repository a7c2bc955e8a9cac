"""One fine-tuning run from permit to record, in the order in which it happens."""

from __future__ import annotations

import contextlib
import time
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
from toolkit.training.data import TrainingData, load_data
from toolkit.training.distributed.state import whole_adapter
from toolkit.training.distributed.strategy import distribute
from toolkit.training.distributed.team import current
from toolkit.training.methods import Scores, method_of
from toolkit.training.progress import Event, Progress, silent
from toolkit.training.rewards import reward_digests
from toolkit.training.settings import settings_of

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
    or the folder holds a finished run; InvalidInput for the data; Stopped on Ctrl-C.
    """
    team = current()
    _check_papers(permit, recipe, verdict)
    require_fit(plan, recipe.path)
    if plan.gpus != team.size:
        raise TkError(f"the plan is for {plan.gpus} processes, and {team.size} run it", where=recipe.path)
    progress = progress if team.first else silent
    started, begun = _now(), time.monotonic()
    run = team.from_first(lambda: run_folder.open_run(Path(recipe.output), overwrite=overwrite))
    environment.prepare()
    if data is None:
        progress(Event("data", f"reading {recipe.data.train}"))
        data = load_data(recipe, offline=offline)
    method, settings = method_of(recipe.method), settings_of(recipe, plan.choices, plan.device.kind)
    folder = snapshot.local_folder()

    with environment.quiet_libraries(team.log(run)) as log:

        def say(event: Event) -> None:
            if event.done is None:
                log.info("%s: %s", event.stage, event.message)
            progress(event)

        from toolkit.training import adapters, base, initialisation, masks, new_tokens, record
        from toolkit.training.start import begin_from, start_of

        say(
            Event(
                "data", f"tokenising {len(data.train)} rows to train on and {len(data.held_out)} held out ({data.how})"
            )
        )
        tokenizer = base.load_tokenizer(folder, trust_remote_code=settings.trust_remote_code)
        new_tokens.extend(tokenizer, settings.new_tokens, recipe.path)
        plain = method.CONVERSES and masks.ensure_template(tokenizer)
        encoded = method.encode(data.train, tokenizer, settings)
        held_out = method.encode(data.held_out, tokenizer, settings)
        asked = recipe.evaluate
        questions = method.questions(data.held_out, held_out, tokenizer, asked)

        base_files = snapshot.files()
        start = start_of(settings, base_files) if settings.start else None
        identity = run_folder.identity(recipe, plan, base_files, data.source.sha256)
        identity |= {"start": start.sha256} if start else {}
        team.agree({**identity, "versions": sha256_json(environment.versions())})
        team.from_first(lambda: run_folder.clear(run, overwrite=overwrite))
        checkpoint = team.from_first(lambda: resumable(run / "checkpoints", identity))
        say(Event("base", f"loading {snapshot.id}" + (f", to go on from {checkpoint.name}" if checkpoint else "")))
        environment.import_trainer()
        peak = environment.PeakMemory(settings.device_type)
        environment.seed_everything(settings.seed)
        model = base.load_base(
            folder,
            dtype=settings.dtype,
            device=settings.device_type,
            quantise=settings.bits is not None,
            bits=settings.bits,
            attention=settings.attention,
            trust_remote_code=settings.trust_remote_code,
            to_shard=settings.sharding == "fsdp2",
        )
        parameters = base.count_parameters(model)
        new_tokens.make_room(model, tokenizer, folder, settings.new_tokens)
        ending = masks.Template(tokenizer).end_of_turn() if method.CONVERSES else None
        stops = base.align_tokens(model, tokenizer, ending)
        adapted: Any = adapters.add_adapter(model, settings, tokenizer, encoded)
        if start:
            begin_from(start, adapted)
        trainable = adapters.trainable_parameters(adapted)
        team.from_first(lambda: run_folder.check_space(run, trainable))
        if checkpoint and settings.sharding == "fsdp2":
            adapters.load_weights(adapted, checkpoint)
        distribute(adapted, settings.sharding, team, settings.device_type)

        def judge(stage: str) -> Scores:
            def report(done: int, total: int) -> None:
                progress(Event(stage, "held-out rows and answers", done, total))

            say(Event(stage, f"measuring on {held_out.rows} held-out rows, {len(questions)} answers"))
            return method.score(adapted, tokenizer, held_out, questions, stops, asked, report)

        if held_out.rows:
            # The base itself, not an untrained adapter; but what an earlier run left is what this one begins with.
            with contextlib.nullcontext() if start else initialisation.base_alone(adapted):
                before = judge("before")
        modules = adapters.adapted_modules(adapted)
        kinds = ", ".join(f"{name} {count}" for name, count in adapters.counts(modules).items())
        say(Event("train", f"training {trainable:,} parameters ({kinds})"))
        trained = method.train(adapted, tokenizer, encoded, settings, run, progress, checkpoint)
        after = judge("after") if held_out.rows else None

        say(Event("record", "saving the adapter"))
        peak_bytes = team.largest(peak.bytes())
        whole = whole_adapter(adapted) if settings.sharding == "fsdp2" else None
        if not team.first:
            team.wait()  # until the record is written
            return run
        adapters.save_adapter(adapted, tokenizer, run / "adapter", snapshot.id, snapshot.revision, whole)
        notes = [*encoded.notes, *(["the base has no chat template; the plain one was used"] if plain else [])]
        if start:
            notes.append(f"training and its evaluation began with the adapter of run {start.id}")
        facts = record.Facts(
            started=started,
            finished=_now(),
            wall_seconds=time.monotonic() - begun,
            base_files=base_files,
            base_parameters=parameters,
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
        )
        compared = record.evaluation_of(held_out.rows, questions, before, after) if after is not None else None
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

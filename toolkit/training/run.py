"""One fine-tuning run from permit to record, in the order in which it happens."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.files.atomic import unwritable
from toolkit.files.digests import FileDigest, sha256_file, sha256_json
from toolkit.licensing.library import library
from toolkit.models.license_files import kind_of, license_texts
from toolkit.planning.gate import Permit
from toolkit.planning.prepare import require_fit
from toolkit.planning.recipe import Recipe
from toolkit.release.record import write_record
from toolkit.training import environment
from toolkit.training.checkpoints import discard, resumable
from toolkit.training.data import TrainingData, load_data
from toolkit.training.progress import Event, Progress, silent
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
    _check_papers(permit, recipe, verdict)
    require_fit(plan, recipe.path)
    started, begun = _now(), time.monotonic()
    run = _open_run(Path(recipe.output), overwrite=overwrite)
    environment.prepare()
    if data is None:
        progress(Event("data", f"reading {recipe.data.train}"))
        data = load_data(recipe, offline=offline)
    settings = settings_of(recipe, plan.choices, plan.device.kind)
    folder = snapshot.local_folder()

    with environment.quiet_libraries(run / "log.txt") as log:

        def say(event: Event) -> None:
            if event.done is None:
                log.info("%s: %s", event.stage, event.message)
            progress(event)

        from toolkit.training import adapters, base, evaluation, initialisation, masks, new_tokens, record
        from toolkit.training.encoding import encode
        from toolkit.training.methods import sft

        say(
            Event(
                "data", f"tokenising {len(data.train)} rows to train on and {len(data.held_out)} held out ({data.how})"
            )
        )
        tokenizer = base.load_tokenizer(folder, trust_remote_code=settings.trust_remote_code)
        new_tokens.extend(tokenizer, settings.new_tokens, recipe.path)
        plain = masks.ensure_template(tokenizer)
        encoded = encode(data.train, tokenizer, settings.max_length)
        held_out = encode(data.held_out, tokenizer, settings.max_length)
        asked = recipe.evaluate
        questions = evaluation.questions_of(data.held_out, held_out, tokenizer, asked.generate, asked.max_new_tokens)

        base_files = snapshot.files()
        _clear(run, overwrite=overwrite)
        checkpoint = resumable(run / "checkpoints", _identity(recipe, plan, base_files, data.source.sha256))
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
        )
        parameters = base.count_parameters(model)
        new_tokens.make_room(model, tokenizer, folder, settings.new_tokens)
        stops = base.align_tokens(model, tokenizer, masks.Template(tokenizer).end_of_turn())
        adapted: Any = adapters.add_adapter(model, settings, tokenizer, encoded)
        trainable = adapters.trainable_parameters(adapted)
        _check_space(run, trainable)

        def judge(stage: str) -> evaluation.Scores:
            def report(done: int, total: int) -> None:
                progress(Event(stage, "held-out rows and answers", done, total))

            say(Event(stage, f"held-out loss on {held_out.rows} rows, {len(questions)} answers"))
            return evaluation.score(adapted, tokenizer, held_out, questions, stops, asked.max_new_tokens, report)

        if held_out.rows:
            with initialisation.base_alone(adapted):  # the base itself, not an untrained adapter
                before = judge("before")
        modules = adapters.adapted_modules(adapted)
        kinds = ", ".join(f"{name} {count}" for name, count in adapters.counts(modules).items())
        say(Event("train", f"training {trainable:,} parameters ({kinds})"))
        trained = sft.train(adapted, tokenizer, encoded, settings, run, progress, checkpoint)
        after = judge("after") if held_out.rows else None

        say(Event("record", "saving the adapter"))
        peak_bytes = peak.bytes()
        adapters.save_adapter(adapted, tokenizer, run / "adapter", snapshot.id, snapshot.revision)
        notes = [*encoded.notes, *(["the base has no chat template; the plain one was used"] if plain else [])]
        facts = record.Facts(
            started=started,
            finished=_now(),
            wall_seconds=time.monotonic() - begun,
            base_files=base_files,
            base_parameters=parameters,
            licenses=_copy_licenses(snapshot, verdict.to_json(), run),
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
        write_record(run, value)
        say(Event("record", f"done in {facts.wall_seconds:.0f} s"))
    return run


def _check_papers(permit: Permit, recipe: Recipe, verdict: Verdict) -> None:
    if not isinstance(permit, Permit):
        raise TypeError("training takes a Permit, which toolkit.planning.gate.grant makes")
    if permit.recipe_sha256 != recipe.sha256:
        raise TkError("the permit was granted for another recipe", where=recipe.path, hint="ask the gate again")
    if permit.verdict_sha256 != sha256_json(verdict.to_json()):
        raise TkError("the permit was granted under another verdict", where=recipe.path, hint="ask the gate again")


def _open_run(run: Path, *, overwrite: bool) -> Path:
    """The run folder, made and known to be writable before anything slow begins. Nothing in it is touched yet."""
    if (run / "run.json").exists() and not overwrite:
        raise TkError("already holds a finished run", where=str(run), hint="choose another output, or pass --overwrite")
    try:
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run):
            pass
    except OSError as error:
        raise unwritable(run, error) from error
    return run


def _clear(run: Path, *, overwrite: bool) -> None:
    """Make room once the data is known to be good: with `overwrite` of a whole run, else of one killed before its record."""
    if overwrite:
        discard(run)
    for name in ("adapter", "licenses"):
        shutil.rmtree(run / name, ignore_errors=True)


def _check_space(run: Path, trainable: int) -> None:
    """Weights are saved in float32, and each checkpoint holds them thrice with Adam's two moments; two are kept."""
    needed = trainable * 4 * (1 + 3 * 3) + 2**26
    free = shutil.disk_usage(run).free
    if free < needed:
        gib = 2**30
        raise TkError(
            f"the disk has {free / gib:.1f} GiB free; checkpoints and adapter need {needed / gib:.1f} GiB",
            where=str(run),
        )


def _identity(recipe: Recipe, plan: Plan, base: dict[str, FileDigest], data: str) -> dict[str, str]:
    """What must be equal for a checkpoint to be gone on with, by the name that a message uses."""
    return {
        "recipe": recipe.sha256,
        "plan": sha256_json({name: str(choice.value) for name, choice in plan.choices.items()}),
        "base": sha256_json({name: digest.sha256 for name, digest in base.items()}),
        "data": data,
    }


def _copy_licenses(snapshot: Snapshot, verdict: dict[str, Any], run: Path) -> list[dict[str, str]]:
    """Copy the base's licence, notice and policy files into the run, so that a release years later still has them.

    A file is of the licence that its words are; one that nobody recognises is taken for the base's own.
    """
    terms = next((item["id"] for item in verdict["effective_licenses"] if item["from"] == snapshot.id), None)
    terms = terms or next((item["id"] for item in verdict["effective_licenses"] if item["role"] == "model"), "unknown")
    told = {text.path: text.id for text in license_texts(snapshot, library()) if text.id}
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", snapshot.id).strip("-.") or "base"
    copies = []
    for path in snapshot.license_files:
        target = run / "licenses" / slug / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        copies.append(
            {
                "work": snapshot.id,
                "id": told.get(path.name, terms),
                "path": target.relative_to(run).as_posix(),
                "kind": kind_of(path.name),
                "sha256": sha256_file(target),
            }
        )
    return copies


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

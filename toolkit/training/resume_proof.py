"""Whether a killed run goes on to the same adapter: two steps, a kill, two more, against four in one go.

On the recipe, base and data of the user and the device at hand; in a temporary folder, so that no run is touched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.training import environment
from toolkit.training.loading import load_adapted
from toolkit.training.methods import method_of
from toolkit.training.prepared import prepare_rows
from toolkit.training.progress import Event, Progress, silent
from toolkit.training.settings import Settings, settings_of
from toolkit.training.start import begin_from, start_of

if TYPE_CHECKING:
    from toolkit.models.snapshot import Snapshot
    from toolkit.planning.plan import Plan
    from toolkit.planning.recipe import Recipe
    from toolkit.training.data import TrainingData

STEPS = 4
_KILLED_IN = 3  # step; the checkpoint of the second is what is left
_TOLERANCE = 1e-3  # of a loss, relative, on devices whose sums come in no fixed order


class _Killed(Exception):
    """Ends the second leg as a kill would: nothing is written after the checkpoint."""


@dataclass(frozen=True, slots=True)
class ResumeProof:
    """Losses and adapters of both ways. `largest_difference` is that of any weight of the adapter."""

    device: str
    whole_losses: tuple[float, ...]
    resumed_losses: tuple[float, ...]
    whole_sha256: str
    resumed_sha256: str
    largest_difference: float

    @property
    def exact(self) -> bool:
        """Bit for bit the same adapter and losses."""
        return self.whole_sha256 == self.resumed_sha256 and self.whole_losses == self.resumed_losses

    @property
    def holds(self) -> bool:
        """Exact; on a GPU, whose sums come in no fixed order, also where losses agree to a thousandth."""
        pairs = zip(self.whole_losses, self.resumed_losses, strict=True)
        near = all(abs(one - other) <= _TOLERANCE * max(abs(one), abs(other), 1e-12) for one, other in pairs)
        return self.exact or (self.device != "cpu" and near)

    def to_json(self) -> dict[str, object]:
        return {
            "schema": "tk/resume/1",
            "device": self.device,
            "holds": self.holds,
            "exact": self.exact,
            "whole": {"losses": list(self.whole_losses), "adapter_sha256": self.whole_sha256},
            "resumed": {"losses": list(self.resumed_losses), "adapter_sha256": self.resumed_sha256},
            "largest_difference": self.largest_difference,
        }


def verify_resume(
    recipe: Recipe, plan: Plan, snapshot: Snapshot, data: TrainingData, progress: Progress = silent
) -> ResumeProof:
    """Train both ways and compare. Raises what training raises."""
    environment.prepare()
    settings = settings_of(recipe, plan.choices, plan.device.kind)
    settings = replace(settings, max_steps=STEPS, save_every=2 / STEPS, save_keep=STEPS)
    with tempfile.TemporaryDirectory() as place, environment.quiet_libraries(Path(place) / "log.txt"):
        leg = _Leg(recipe, settings, snapshot, data, Path(place), progress)
        progress(Event("data", f"{STEPS} steps in one go"))
        whole, whole_losses = leg.train("whole", keep=False)
        progress(Event("data", f"two steps, and killed in step {_KILLED_IN}"))
        _, killed_losses = leg.train("killed", kill_in=_KILLED_IN)
        progress(Event("data", f"gone on with from the checkpoint, to step {STEPS}"))
        resumed, losses = leg.train("resumed", checkpoint=Path(place) / "killed" / "checkpoints" / "checkpoint-2")
    return ResumeProof(
        device=settings.device,
        whole_losses=whole_losses,
        resumed_losses=(*killed_losses, *losses),
        whole_sha256=_digest(whole),
        resumed_sha256=_digest(resumed),
        largest_difference=max(float((whole[name] - resumed[name]).abs().max()) for name in whole),
    )


class _Leg:
    """One training from a freshly loaded base: what a new process would do."""

    def __init__(
        self,
        recipe: Recipe,
        settings: Settings,
        snapshot: Snapshot,
        data: TrainingData,
        place: Path,
        progress: Progress,
    ) -> None:
        self._place, self._progress = place, progress
        self._folder = snapshot.local_folder()
        self._method = method_of(recipe.method)
        self._start = start_of(settings, snapshot.files()) if settings.start else None
        prepared = prepare_rows(recipe, data, self._method, settings, self._folder)
        self._tokenizer, self._rows, self._settings = prepared.tokenizer, prepared.encoded, prepared.settings
        self._at_hand = prepared.at_hand

    def train(
        self, name: str, *, keep: bool = True, kill_in: int | None = None, checkpoint: Path | None = None
    ) -> tuple[dict[str, Any], tuple[float, ...]]:
        """The adapter's weights on the CPU, and the loss of each step that was done."""
        from peft import get_peft_model_state_dict

        losses: list[float] = []

        def note(event: Event) -> None:
            if "loss" not in event.values:
                return
            if event.done == kill_in:
                raise _Killed
            losses.append(event.values["loss"])
            self._progress(event)

        run = self._place / name
        run.mkdir()
        environment.seed_everything(self._settings.seed)
        converses = self._method.CONVERSES
        model = load_adapted(self._folder, self._tokenizer, self._settings, self._at_hand, converses=converses).model
        if self._start:
            begin_from(self._start, model)
        try:
            self._method.train(
                model, self._tokenizer, self._rows, self._settings, run, note, checkpoint, keep_checkpoints=keep
            )
        except _Killed:
            return {}, tuple(losses)
        weights = get_peft_model_state_dict(model)
        return {key: weights[key].detach().to("cpu").clone() for key in sorted(weights)}, tuple(losses)


def _digest(weights: Mapping[str, Any]) -> str:
    """SHA-256 over names, shapes and bytes of the weights."""
    found = sha256()
    for name, weight in weights.items():
        found.update(f"{name} {tuple(weight.shape)} {weight.dtype}\n".encode())
        found.update(weight.contiguous().numpy().tobytes())
    return found.hexdigest()

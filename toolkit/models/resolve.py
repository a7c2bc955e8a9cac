"""From a reference to a snapshot: folder, embedded base, local hub cache, hub, or the catalogue, in that order.

The hub's cache is read by its layout (https://huggingface.co/docs/huggingface_hub/guides/manage-cache), without
importing the client: a licence check must not pay for it. The client is imported once the network is really needed.
"""

import os
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import TkError
from toolkit.licensing.library import Library
from toolkit.models.card import LICENSE_FILES
from toolkit.models.embedded_bases import folder_with_weights, shipped_folder
from toolkit.models.reference import Reference
from toolkit.models.snapshot import Snapshot

PAPERS_OF_A_MODEL = ("README.md", "config.json", "adapter_config.json")
PAPERS = (*PAPERS_OF_A_MODEL, *LICENSE_FILES)
WEIGHTS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "tokenizer*")
_CONNECT_SECONDS = 5
_UNUSED = ("*.bin", "*.pt", "*.pth", "*.gguf", "*.onnx", "*.h5", "*.msgpack", "original/*")


class Access(NamedTuple):
    """What a resolution may do: use the network, and read the whole model rather than its papers. A hub id is looked for
    below the folders of `registries` first, as `org/name`, `org--name` or in the layout of the hub's cache."""

    library: Library
    offline: bool = False
    weights: bool = False
    registries: tuple[Path, ...] = ()


def offline_by_environment() -> bool:
    """Whether the environment forbids the hub, in the client's own variables."""
    return any(
        os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def resolve(reference: Reference, access: Access) -> Snapshot:
    """The snapshot of a reference. Raises TkError when nothing knows it or, with `access.weights`, nothing has it."""
    if reference.kind == "embedded":
        folder = (folder_with_weights if access.weights else shipped_folder)(reference.name)
        return Snapshot(reference.id, None, "embedded", folder)
    if reference.kind == "folder":
        return Snapshot(reference.name, None, "folder", Path(reference.name).expanduser())
    for registry in access.registries:
        if found := _from_registry(reference, registry):
            return found
    if cached := _from_cache(reference, access.weights):
        return cached
    if access.offline or offline_by_environment():
        return _from_catalogue(reference, access, "offline, and not in the local hub cache", None)
    return _from_hub(reference, access)


def hub_cache() -> Path:
    """The hub client's cache folder, by the variables that the client itself honours."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := os.environ.get(name):
            return Path(named).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "huggingface")
    return Path(home).expanduser() / "hub"


def cached_folder(
    name: str, kind: str = "models", revision: str | None = None, *, cache: Path | None = None
) -> Path | None:
    """The folder of a snapshot in the hub cache, of a model or of a data set; None when it is not there."""
    store = (cache or hub_cache()) / (f"{kind}--" + name.replace("/", "--"))
    wanted = revision or "main"
    pointer = store / "refs" / wanted
    commit = pointer.read_text().strip() if pointer.is_file() else wanted
    folder = store / "snapshots" / commit
    return folder if folder.is_dir() else None


def is_model(folder: Path) -> bool:
    """Whether a folder holds what a model says of itself."""
    return any((folder / name).is_file() for name in PAPERS_OF_A_MODEL)


def _from_registry(reference: Reference, registry: Path) -> Snapshot | None:
    """A model of a registry on this machine, by the name that the hub has for it."""
    for name in (reference.name, reference.name.replace("/", "--")):
        if reference.revision is None and is_model(registry / name):
            return Snapshot(reference.name, None, "folder", registry / name)
    folder = cached_folder(reference.name, revision=reference.revision, cache=registry)
    return Snapshot(reference.name, folder.name, "cache", folder) if folder and is_model(folder) else None


def _from_cache(reference: Reference, weights: bool) -> Snapshot | None:
    folder = cached_folder(reference.name, revision=reference.revision)
    if folder is None or (weights and not any(folder.glob("*.safetensors"))) or not is_model(folder):
        return None
    return Snapshot(reference.name, folder.name, "cache", folder)


def _out_of_reach() -> str | None:
    """Why nothing listens where the hub should be; None where something does, or a proxy stands between.

    Importing the client takes longer than all the rest of a plan, which is too much for finding no network.
    """
    import socket
    from urllib.parse import urlsplit

    if any(os.environ.get(name) or os.environ.get(name.lower()) for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")):
        return None
    hub = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    try:
        port = hub.port or (80 if hub.scheme == "http" else 443)
        with socket.create_connection((hub.hostname or "", port), timeout=_CONNECT_SECONDS):
            return None
    except (OSError, ValueError) as error:  # a port that is no number is the client's to complain of
        return None if isinstance(error, ValueError) else str(error)


def _from_hub(reference: Reference, access: Access) -> Snapshot:
    if why := _out_of_reach():
        return _from_catalogue(reference, access, f"the hub could not be reached: {why}", None)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        folder = snapshot_download(
            reference.name,
            revision=reference.revision,
            allow_patterns=[*PAPERS, *(WEIGHTS if access.weights else ())],
            ignore_patterns=list(_UNUSED),
        )
    except GatedRepoError as error:
        return _from_catalogue(reference, access, "gated: accept its terms on the hub and set HF_TOKEN", error)
    except RevisionNotFoundError as error:
        raise TkError(
            f"{reference.name} has no revision {reference.revision!r}", hint="check the part after @"
        ) from error
    except RepositoryNotFoundError as error:
        return _from_catalogue(reference, access, "no such model on the hub, or it is private", error)
    except Exception as error:  # the client raises its transport's own errors; all mean the hub did not answer
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        return _from_catalogue(reference, access, f"the hub could not be reached: {reason}", error)
    path = Path(folder)
    return Snapshot(reference.name, path.name, "hub", path)


def _from_catalogue(reference: Reference, access: Access, why: str, cause: Exception | None) -> Snapshot:
    """The catalogue's answer, marked as such; never for weights, which a catalogue does not have."""
    if access.weights:
        hint = "download it where there is a network, or name a folder that holds it"
        raise TkError(f"{reference.name} cannot be loaded: {why}", hint=hint) from cause
    if not access.library.catalogued(reference.name) and access.library.resemblance(reference.name) is None:
        hint = "check the spelling, name a local folder, or try again with network access"
        raise TkError(
            f"nothing is known of {reference.name}: {why}; nor does the catalogue know it", hint=hint
        ) from cause
    return Snapshot(reference.name, reference.revision, "catalogue", None, note=why)

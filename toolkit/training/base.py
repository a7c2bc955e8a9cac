"""The base model and its tokenizer, loaded from a local folder: safetensors only, remote code only when asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.training.distributed.team import current
from toolkit.training.expert_weights import with_experts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tokens that bases reserve for padding or never train on, best first. None is ever added: that would resize the base.
_PADS = ("<|finetune_right_pad_id|>", "<|fim_pad|>", "<pad>", "[PAD]", "<|endoftext|>", "<unk>")


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a base, with a pad token that is its own. Raises TkError when the folder has none."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TkError(f"the tokenizer cannot be loaded: {_first_line(error)}", where=str(folder)) from error
    if tokenizer.pad_token is None:
        vocabulary = tokenizer.get_vocab()
        # The end token is the last resort; it is safe here because labels say what counts, not the pad token.
        tokenizer.pad_token = next((pad for pad in _PADS if pad in vocabulary), tokenizer.eos_token)
    if tokenizer.pad_token is None:
        raise TkError("the tokenizer has neither a pad token nor an end-of-text token", where=str(folder))
    return tokenizer


def load_base(
    folder: Path,
    *,
    dtype: str,
    device: str,
    quantise: bool = False,
    bits: int | None = 4,
    attention: str = "sdpa",
    trust_remote_code: bool = False,
    to_shard: bool = False,
) -> PreTrainedModel:
    """The base model, frozen weights in `dtype`. When `quantise`, in NF4 with double quantisation, routed experts too;
    with `bits` 8 in int8, routed experts left as they are.

    `device` is a torch device type. `to_shard` leaves the weights in main memory, each quantised on the device, and
    stores 4-bit values as `dtype`, which FSDP2 cuts. Raises TkError when the folder has no safetensors, needs remote code that the
    recipe does not allow, or names an architecture that transformers does not know.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if not any(folder.glob("*.safetensors")):
        raise TkError(
            "holds no safetensors weights; other weight files can run code and are not loaded", where=str(folder)
        )
    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "attn_implementation": attention}
    if quantise and bits == 8:
        options["quantization_config"] = eight_bit()
    elif quantise:
        wanted = four_bit(compute_dtype(dtype, device), storage=dtype if to_shard else "uint8")
        through = device if to_shard and device != "cpu" else None
        options["quantization_config"] = wanted if _is_stored_quantised(folder) else with_experts(wanted, through)
    if device != "cpu":
        own = current().local if device in ("cuda", "npu") else device
        options["device_map"] = {"": "cpu" if to_shard else own}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=trust_remote_code, local_files_only=True, **options
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise TkError(
            f"the base cannot be loaded: {_first_line(error)}", where=str(folder), hint=_hint(error)
        ) from error
    model.config.use_cache = False
    if quantise and device == "cpu":
        (_keep_eight_bits_as_they_are if bits == 8 else _keep_four_bits_as_they_are)(model)
    return model


def _is_stored_quantised(folder: Path) -> bool:
    """Whether the weights are quantised already; then they are taken as they are, and so are experts in 16 bits."""
    config = folder / "config.json"
    return config.is_file() and json.loads(config.read_text(encoding="utf-8")).get("quantization_config") is not None


def compute_dtype(dtype: str, device: str) -> str:
    """In which format a 4-bit matrix is multiplied. CPUs without native bf16 are 6 times slower in it than in fp32."""
    if device != "cpu":
        return dtype
    import torch

    return "bfloat16" if dtype == "bfloat16" and torch.cpu._is_avx512_bf16_supported() else "float32"


def four_bit(compute: str, storage: str = "uint8") -> Any:
    """The 4-bit NormalFloat quantisation of QLoRA (https://arxiv.org/abs/2305.14314), constants quantised too.

    `compute` is the format that is multiplied in, `storage` the one that the packed values pretend to have.
    """
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, compute),
        bnb_4bit_quant_storage=getattr(torch, storage),
    )


def eight_bit() -> Any:
    """LLM.int8() (https://arxiv.org/abs/2208.07339): int8 rows, columns of outlying activations in 16 bits."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_8bit=True)


def _keep_four_bits_as_they_are(model: PreTrainedModel) -> None:
    """Switch off what bitsandbytes (0.50.2, nn/modules.py, `Linear4bit.forward`) does on CPUs with AVX-512 bf16.

    At the first forward pass outside training it repacks the weights for good and rounds their scales to bf16, so an
    evaluation would change the base that is then trained; and it fails where a matrix does not divide into its blocks.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _keep_eight_bits_as_they_are(model: PreTrainedModel) -> None:
    """Let the scales of int8 weights stay where bitsandbytes (0.50.2, nn/modules.py, `Linear8bitLt`) puts them first.

    On a CPU, PEFT (0.21.2, utils/integrations.py, `dequantize_module_weight`, which DoRA calls at every step) makes the
    weight anew without its scales, whereupon the next forward pass takes these missing ones for its own.
    """
    from bitsandbytes.nn import Linear8bitLt

    for module in model.modules():
        if isinstance(module, Linear8bitLt):
            module.init_8bit_state()
            module.init_8bit_state = lambda: None


def align_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, end_of_turn: str | None
) -> tuple[int, ...]:
    """Make model and tokenizer agree on padding and on where an answer stops; gives the ids that stop generation.

    A base that was not instruction-tuned ends texts with one token and, under a chat template, turns with another;
    the tokenizer saved with the adapter then names the latter, so that a server stops where training did.
    """
    from transformers import GenerationConfig

    if end_of_turn is not None:
        tokenizer.eos_token = end_of_turn
    configured = model.generation_config.eos_token_id
    known = configured if isinstance(configured, list) else [configured]
    stops = tuple(dict.fromkeys(token for token in (tokenizer.eos_token_id, *known) if token is not None))
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    # A fresh one: `generate` fills what a call leaves open from here, and publishers set temperatures and penalties.
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=list(stops), pad_token_id=tokenizer.pad_token_id
    )
    return stops


def count_parameters(model: PreTrainedModel) -> int:
    """Parameters of the model; a matrix in 4 bits counts by what it stands for, not by its bytes."""
    total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        total += state.shape.numel() if state is not None else parameter.numel()
    return total


def _hint(error: Exception) -> str | None:
    text = str(error)
    if "trust_remote_code" in text:
        return (
            "the base ships its own code; read it, and set trust_remote_code: true in the recipe if you mean to run it"
        )
    if isinstance(error, ImportError):
        return "install the training extra: pip install 'tk-toolkit[train]'"
    return None


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)

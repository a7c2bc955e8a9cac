"""Pre-train the embedded base: a byte-level BPE tokenizer and a small Qwen2 model, from nothing but a seed.

    python examples/embedded_base/pretrain.py --output toolkit/models/embedded/qwen2

A checkpoint is kept beside the output while training, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import torch
from corpus import Passage, passage, passages
from tasks import TASKS
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VOCABULARY, WINDOW, POSITIONS = 2048, 256, 2048

# Qwen2's own way of cutting text: every digit is a piece of its own, so that a number is copied digit by digit.
PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['role'] == 'assistant' %}"
    "{%- generation %}{{- message['content'] + '<|im_end|>' }}{%- endgeneration %}{{- '\\n' }}"
    "{%- else %}{{- message['content'] + '<|im_end|>\\n' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)

# How much a token counts in the loss. What a user writes is drawn at random: there is less to learn from it.
WEIGHTS = {"user": 0.2, "text": 0.7, "assistant": 1.0}


def train_tokenizer(seed: int, sample: int = 30_000) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the first passages of the corpus."""
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator((text for each in islice(passages(seed), sample) for _, text in each), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START],
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
        padding_side="right",
        chat_template=CHAT_TEMPLATE,
    )


def encode(tokenizer: PreTrainedTokenizerFast, each: Passage) -> tuple[list[int], list[float]]:
    """Token ids of a passage as the chat template would write it, and the weight of each in the loss."""
    ids, weights = [], []

    def add(text: str, weight: float) -> None:
        new = tokenizer.encode(text, add_special_tokens=False)
        ids.extend(new)
        weights.extend([weight] * len(new))

    for role, text in each:
        if role == "text":
            add(text, WEIGHTS[role])
        else:
            add(f"{START}{role}\n", 0.0)
            add(f"{text}{END}", WEIGHTS[role])
            add("\n", 0.0)
    add(PAD, 0.1)
    return ids, weights


def windows(tokenizer: PreTrainedTokenizerFast, rng: Random) -> Iterator[tuple[list[int], list[float]]]:
    """Whole passages packed into windows of one length; a passage that does not fit begins the next window."""
    pad_id = tokenizer.pad_token_id
    ids: list[int] = []
    weights: list[float] = []
    while True:
        more_ids, more_weights = encode(tokenizer, passage(rng))
        if ids and len(ids) + len(more_ids) > WINDOW:
            gap = WINDOW - len(ids)
            yield ids + [pad_id] * gap, weights + [0.0] * gap
            ids, weights = [], []
        ids += more_ids[:WINDOW]
        weights += more_weights[:WINDOW]


def batch(tokenizer: PreTrainedTokenizerFast, seed: int, step: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch of a step, shape (size, WINDOW) each: it depends on seed and step alone, so a resumed run sees the same."""
    rows = list(islice(windows(tokenizer, Random(f"{seed}/{step}")), size))
    return torch.tensor([ids for ids, _ in rows]), torch.tensor([weights for _, weights in rows])


def loss_of(model: Qwen2ForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean of the next-token loss, in nats."""
    logits = model(input_ids=ids).logits[:, :-1].float()
    losses = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    wanted = weights[:, 1:].flatten()
    return (losses * wanted).sum() / wanted.sum()


def learning_rate_share(step: int, steps: int, warmup: int = 100) -> float:
    """Linear warm-up, then a cosine down to a fiftieth."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@torch.no_grad()
def abilities(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int, each: int) -> dict[str, float]:
    """Share of answers of each task that greedy decoding would give word for word, on draws that training never saw.

    An answer is greedy-exact if and only if every one of its tokens is the likeliest after the true ones before it.
    """
    model.eval()
    shares = {}
    for task in TASKS:
        rng = Random(f"abilities/{seed}/{task.__name__}")
        right = 0
        for _ in range(each):
            asked, answer = task(rng)
            ids, weights = encode(tokenizer, [("user", asked), ("assistant", answer)])
            wanted = torch.tensor(weights)[1:] == WEIGHTS["assistant"]
            best = model(input_ids=torch.tensor([ids])).logits[0, :-1].argmax(-1)
            right += bool((best == torch.tensor(ids)[1:])[wanted].all())
        shares[task.__name__] = right / each
    model.train()
    return shares


@torch.no_grad()
def wire_copying(model: Qwen2ForCausalLM) -> None:
    """Start the model with a circuit that copies, and small random weights for all else.

    Copying what followed the same word earlier ("induction") takes two attention layers that work together; from random
    weights a model of this size had not found it after 1.8 million tokens, a quarter of what it is trained on. So the
    first layer starts with heads that write the previous token beside each token (their query bias is the key bias
    turned by one position), and the second with heads that look for a token whose previous token is the present one and
    bring it over. Training changes all of it.
    """
    config = model.config
    size, heads, groups = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    width = size // heads
    half = width // 2
    quarter = half // 2
    model.model.embed_tokens.weight.normal_(0, size**-0.5)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.mul_(0.03)
        layer.mlp.down_proj.weight.mul_(0.03)
    directions = torch.nn.init.orthogonal_(torch.empty(size, size)).split(width)
    frequencies = config.rope_parameters["rope_theta"] ** (-torch.arange(quarter) / half)
    slow = torch.ones(width, 1)  # the pairs that rotate slowly can compare words at any distance
    slow[: quarter - 1] = slow[half : half + quarter - 1] = 0
    earlier, later = model.model.layers[0].self_attn, model.model.layers[1].self_attn
    for group in range(groups):
        present, previous, brought = directions[3 * group : 3 * group + 3]
        keys = slice(width * group, width * group + width)
        first_query = width * group * (heads // groups)
        queries = slice(first_query, first_query + width)
        for projection, rows in ((earlier.q_proj, queries), (earlier.k_proj, keys)):
            projection.weight[rows] *= 0.1
        earlier.k_proj.bias[keys][:quarter] = 8.0
        earlier.q_proj.bias[queries][:quarter] = 8.0 * frequencies.cos()
        earlier.q_proj.bias[queries][half : half + quarter] = -8.0 * frequencies.sin()
        earlier.v_proj.weight[keys] = present
        earlier.o_proj.weight[:, queries] = 0.17 * previous.T
        later.q_proj.weight[queries] = 2.5 * slow * present
        later.k_proj.weight[keys] = 2.5 * slow * previous
        later.v_proj.weight[keys] = brought
        later.o_proj.weight[:, queries] = 0.5 * brought.T


def optimisers_of(model: Qwen2ForCausalLM, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embedding, the norms and the biases.

    In trials Muon reached after 400 steps the loss that AdamW alone reached after 500.
    """
    inner = [each for name, each in model.named_parameters() if each.ndim == 2 and "embed" not in name]
    others = [each for name, each in model.named_parameters() if each.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(inner, lr=learning_rate * 4, weight_decay=0.02, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def write_digests(folder: Path) -> None:
    """`digests.json`: the SHA-256 of every other file of the folder."""
    files = sorted(each for each in folder.iterdir() if each.is_file() and each.name != "digests.json")
    digests = {each.name: f"sha256:{hashlib.sha256(each.read_bytes()).hexdigest()}" for each in files}
    (folder / "digests.json").write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")


def new_model(hidden: int, layers: int, pad_id: int, end_id: int) -> Qwen2ForCausalLM:
    """A model with its starting weights. Every width is a multiple of 64, so that 4-bit blocks fill evenly."""
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=512,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        initializer_range=0.07,
        bos_token_id=pad_id,
        eos_token_id=end_id,
        pad_token_id=pad_id,
    )
    model = Qwen2ForCausalLM(config)
    wire_copying(model)
    return model


def train(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, checkpoint: Path, given: argparse.Namespace
) -> bool:
    """Train to the last step, from the checkpoint where there is one; false when the minutes ran out before."""
    optimisers = optimisers_of(model, given.learning_rate)
    schedules = [LambdaLR(each, lambda step: learning_rate_share(step, given.steps)) for each in optimisers]
    parts = [*optimisers, *schedules]
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for part, saved in zip(parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        first = state["step"]
        print(f"resumed at step {first}")

    def keep(step: int) -> None:
        state = {"model": model.state_dict(), "parts": [each.state_dict() for each in parts], "step": step}
        torch.save(state, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)

    began, recent = time.monotonic(), None
    for step in range(first, given.steps):
        ids, weights = batch(tokenizer, given.seed, step, given.batch_size)
        with torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bfloat16"):
            loss = loss_of(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in parts:
            part.step()
        model.zero_grad()
        recent = loss.item() if recent is None else 0.98 * recent + 0.02 * loss.item()
        done, seconds = step + 1, time.monotonic() - began
        if done % 100 == 0:
            speed = (done - first) * ids.numel() / seconds
            print(f"step {done:5d}  loss {recent:.3f}  {seconds:5.0f} s  {speed:,.0f} tokens/s", flush=True)
        if done % 250 == 0:
            keep(done)
            shares = abilities(model, tokenizer, given.seed, each=10)
            print("  " + "  ".join(f"{name} {share:.0%}" for name, share in shares.items()), flush=True)
        if done < given.steps and seconds > given.minutes * 60:
            keep(done)
            return False
    return True


def save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the model folder with bfloat16 weights; a card and a licence that lie there stay."""
    model.to(torch.bfloat16)
    config = model.config
    model.generation_config.update(
        do_sample=False,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)


def read_options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True, help="the model folder to write")
    options.add_argument("--steps", type=int, default=2500)
    options.add_argument("--minutes", type=float, default=math.inf, help="stop after this long, keep the checkpoint")
    options.add_argument("--batch-size", type=int, default=12, help=f"windows of {WINDOW} tokens in a step")
    options.add_argument("--learning-rate", type=float, default=2e-3)
    options.add_argument("--seed", type=int, default=20)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--hidden", type=int, default=192)
    options.add_argument("--layers", type=int, default=4)
    options.add_argument(
        "--precision", choices=("bfloat16", "float32"), default="bfloat16", help="of the matrix products"
    )
    options.add_argument(
        "--digests-only", action="store_true", help="only write digests.json anew, after editing the card"
    )
    return options.parse_args()


def main() -> None:
    given = read_options()
    if given.digests_only:
        write_digests(given.output)
        return
    torch.manual_seed(given.seed)
    torch.set_num_threads(given.threads)
    tokenizer = train_tokenizer(given.seed)
    model = new_model(given.hidden, given.layers, tokenizer.pad_token_id, tokenizer.eos_token_id)
    print(f"{sum(each.numel() for each in model.parameters()):,} parameters, {given.steps} steps")
    checkpoint = given.output.with_name(given.output.name + ".checkpoint.pt")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if not train(model, tokenizer, checkpoint, given):
        print(f"stopped after {given.minutes} minutes; the same command goes on from {checkpoint}")
        return
    save(model, tokenizer, given.output)
    checkpoint.unlink(missing_ok=True)
    print("answers of the saved weights that are right word for word, of 100 unseen questions each:")
    for name, share in abilities(model.float(), tokenizer, given.seed, each=100).items():
        print(f"  {name:20s} {share:.0%}")
    write_digests(given.output)


if __name__ == "__main__":
    main()

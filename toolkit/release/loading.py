"""How to load a release: the lines of Python that a reader copies from the card."""

from __future__ import annotations

from toolkit.release.blocks import Block, Heading, Listing, Paragraph, line
from toolkit.release.facts import Facts
from toolkit.release.record import at, mapping, text


def how_to_load(facts: Facts) -> tuple[Block, ...]:
    """The section on loading: PEFT over the pinned base, in four bits where it was trained so and PEFT can; or the
    merged weights by themselves."""
    if facts.form.kind == "gguf":
        return Heading("How to load"), Listing("sh", 'llama-server --model "$(ls *.gguf)" --jinja')
    if facts.form.kind == "merged":
        return Heading("How to load"), Listing("python", _merged_code(facts))
    blocks: list[Block] = [Heading("How to load"), Listing("python", loading_code(facts))]
    if not facts.base.is_hub and not facts.base.name.startswith("embedded:"):
        blocks.append(
            Paragraph(
                line("The base is on no public hub: it is the folder whose files have the digests in the provenance.")
            )
        )
    return tuple(blocks)


def _merged_code(facts: Facts) -> str:
    """Python that loads merged weights. The release is the current folder."""
    trust = ", trust_remote_code=True" if at(facts.record, "recipe.resolved.trust_remote_code") else ""
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'model = AutoModelForCausalLM.from_pretrained(".", dtype="auto"{trust})\n'
        f'tokenizer = AutoTokenizer.from_pretrained("."{trust})'
    )


def loading_code(facts: Facts) -> str:
    """Python that loads the base at its revision, then the adapter over it. The release is the current folder."""
    name = facts.base.name
    # PEFT adapts parameters by name (dense layers and experts of a mixture) only where they are not quantised.
    targets = at(facts.record, "adapter.target_modules")
    by_parameter = isinstance(targets, list | tuple) and any("." in str(target) for target in targets)
    four_bits = str(at(facts.record, "adapter.type")) == "qlora" and not by_parameter
    eight_bits = str(at(facts.record, "adapter.type")) == "lora-8bit" and not by_parameter
    quantised = ", BitsAndBytesConfig" if four_bits or eight_bits else ""
    imports = ["from peft import PeftModel", f"from transformers import AutoModelForCausalLM, AutoTokenizer{quantised}"]
    arguments = ["base_model"]
    if facts.base.is_hub:
        base = f"base_model = {name!r}"
        if facts.base.revision:
            arguments.append(f"revision={facts.base.revision!r}")
    elif name.startswith("embedded:"):
        imports.append("from toolkit.models.embedded_bases import folder_with_weights")
        base = f"base_model = folder_with_weights({name.removeprefix('embedded:')!r})"
    else:
        base = f"base_model = 'path/to/{name}'"
    dtype = text(facts.record, "plan.choices.dtype.value") or "auto"
    arguments.append(f"dtype={dtype!r}")
    setup = [base]
    if four_bits:
        imports.insert(0, "import torch")
        compute = dtype if dtype in ("bfloat16", "float16", "float32") else "bfloat16"
        setup.append(
            "in_four_bits = BitsAndBytesConfig(\n"
            '    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,\n'
            f"    bnb_4bit_compute_dtype=torch.{compute},\n)  # as it was trained; leave it out for an unquantised base"
        )
        arguments.append("quantization_config=in_four_bits")
    if eight_bits:
        setup.append(
            "in_eight_bits = BitsAndBytesConfig(load_in_8bit=True)  # as it was trained; leave it out otherwise"
        )
        arguments.append("quantization_config=in_eight_bits")
    if at(facts.record, "recipe.resolved.trust_remote_code"):
        arguments.append("trust_remote_code=True")
    own_tokenizer = any(
        file.endswith("/tokenizer.json") or "tokenizer.model" in file for file in mapping(facts.record, "adapter.files")
    )
    tokenizer = '"."' if own_tokenizer else "base_model"
    room = []
    if at(facts.record, "adapter.new_tokens"):
        rows = "model.get_input_embeddings().num_embeddings"
        room = [
            f"if len(tokenizer) > {rows}:  # room for the new tokens",
            "    model.resize_token_embeddings(len(tokenizer))",
        ]
    return "\n".join(
        [*imports, "", *setup, f"model = AutoModelForCausalLM.from_pretrained({', '.join(arguments)})",
         f"tokenizer = AutoTokenizer.from_pretrained({tokenizer})", *room,
         'model = PeftModel.from_pretrained(model, ".")']
    )  # fmt: skip

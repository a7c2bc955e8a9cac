"""The keys of `data:` in a recipe: one source or several, how their rows are read, and what counts."""

from __future__ import annotations

from toolkit.files.schema import AnyOf, Flag, Key, Kind, ListOf, MapOf, Number, Record, Report, Text, did_you_mean
from toolkit.files.strict_yaml import Path_
from toolkit.planning.recipe_values import FORMATS, OVERLENGTHS, TRAIN_ON, DataSettings, DataSource

# Columns that a format reads: what `columns` may say another name of.
COLUMNS = (
    "messages", "prompt", "completion", "instruction", "input", "output", "conversations", "text", "system", "tools",
    "chosen", "rejected", "label", "answer",
)  # fmt: skip

# Names of datasets, TRL, axolotl and LLaMA-Factory, under `data:` or at the top of a recipe; or words on what to write.
RENAMED_DATA = {
    "dataset_path": "train",
    "dataset_name": "train",
    "train_file": "train",
    "train_dataset": "train",
    "data_files": "train",
    "datasets": "train",
    "dataset_dir": "train",
    "eval_dataset": "eval",
    "eval_file": "eval",
    "validation_file": "eval",
    "test_datasets": "eval",
    "validation_split": "write data.eval: {path: …, split: …}",
    "dataset_test_split": "write data.eval: {path: …, split: …}",
    "val_set_size": "write evaluate: {fraction: …}",
    "val_size": "write evaluate: {fraction: …}",
    "train_split": "split",
    "dataset_train_split": "split",
    "dataset_split": "split",
    "dataset_format": "format",
    "dataset_config": "config",
    "dataset_config_name": "config",
    "subset": "config",
    "dataset_text_field": "write data.columns: {text: …}",
    "text_column": "write data.columns: {text: …}",
    "field": "write data.columns: {text: …}",
    "field_messages": "write data.columns: {messages: …}",
    "prompt_column": "write data.columns: {prompt: …}",
    "response_column": "write data.columns: {completion: …}",
    "column_mapping": "columns",
    "chat_template": "template",
    "chat_template_path": "template",
    "chat_template_jinja": "template",
    "mix_strategy": "write data.train: [{path: …, weight: …}]",
    "interleave_probs": "write data.train: [{path: …, weight: …}]",
    "probabilities": "write data.train: [{path: …, weight: …}]",
    "train_on_inputs": "train_on",
    "assistant_only_loss": "train_on",
    "completion_only_loss": "train_on",
    "train_on_prompt": "train_on",
    "mask_history": "train_on",
    "excess_length_strategy": "on_overlength",
    "truncation_mode": "on_overlength",
    "truncation": "on_overlength",
}
_IN_SOURCE = {
    "name": "config",
    "type": "format",
    "ds_type": "format",
    "revision": "write path: id@revision",
    "probability": "weight",
    "weights": "weight",
    "train": "path",
    "file": "path",
    **{name: new for name, new in RENAMED_DATA.items() if new in ("split", "config", "columns") or "columns:" in new},
}


def data_shape() -> Kind:
    """`data:` as a mapping, or only the file: `data: examples/support.jsonl`."""
    reading = {
        "config": Key(Text(), "Configuration of a hub data set"),
        "split": Key(Text(), "Split of a hub data set; train when left out"),
        "columns": Key(MapOf(Text(), _column), "Our name of a column: its name in the file, as in {prompt: question}"),
    }
    held_out = Record(
        {"path": Key(Text(), "File, folder or hub data set", required=True), "format": Key(Text(FORMATS)), **reading},
        DataSource,
        renamed=_IN_SOURCE,
    )
    source = Record(
        {
            "path": Key(Text(), "File, folder or hub data set (id[@revision])", required=True),
            "weight": Key(Number(above=0), "Its share of an epoch's examples, relative to the other weights"),
            "license": Key(Text(), "Its licence, SPDX where it has one"),
            "id": Key(Text(), "Its name on the card"),
            "format": Key(Text(FORMATS), "How its rows look"),
            **reading,
        },
        DataSource,
        renamed=_IN_SOURCE,
    )
    keys = {
        "train": Key(
            TextOr(_Sources(source)),
            "JSONL (also .gz, .zst), JSON, CSV, TSV, Parquet or Arrow file, a folder of them, a hub data set, "
            "or a list of sources that are mixed",
            required=True,
        ),
        "eval": Key(TextOr(held_out), "Held-out rows from a file or split of their own"),
        "license": Key(Text(), "Licence of the data, SPDX where it has one"),
        "id": Key(Text(), "Name of the data set on the card"),
        "format": Key(Text(FORMATS), "How rows look; detected when left out", default="auto"),
        **reading,
        "streaming": Key(Flag(), "Read rows as they are needed instead of holding them all", default=False),
        "on_overlength": Key(
            Text(OVERLENGTHS), "Rows longer than train.max_length: an error, split, or cut off", default="error"
        ),
        "train_on": Key(
            Text(TRAIN_ON), "What the loss counts: the assistant's words, its last answer, or all", default="assistant"
        ),
        "template": Key(Text(), "File with a chat template (Jinja) to use instead of the base's"),
    }
    return TextOr(Record(keys, DataSettings, renamed={**RENAMED_DATA, "path": "train"}), key="train")


class TextOr:
    """A text, or a longer form. With `key` the text stands for a mapping that has nothing but that key."""

    def __init__(self, longer: Kind, key: str | None = None) -> None:
        self._longer = longer
        self._key = key

    def read(self, value: object, path: Path_, report: Report) -> object:
        if isinstance(value, str) and self._key is None:
            return Text().read(value, path, report)
        return self._longer.read({self._key: value} if isinstance(value, str) else value, path, report)

    def json_schema(self) -> dict[str, object]:
        return AnyOf((Text(), self._longer), "").json_schema()


class _Sources:
    """A list of sources, each a mapping or only its path."""

    def __init__(self, source: Record) -> None:
        self._list = ListOf(TextOr(source, key="path"))

    def read(self, value: object, path: Path_, report: Report) -> object:
        if isinstance(value, dict):
            report.add(path, "must be a path, or a list of sources such as [{path: …, weight: …}], not a mapping")
            return ()
        if value == []:
            report.add(path, "is empty: it names no source")
        return self._list.read(value, path, report)

    def json_schema(self) -> dict[str, object]:
        return self._list.json_schema()


def _column(name: str) -> str | None:
    return None if name in COLUMNS else f"is no column that a format reads{did_you_mean(name, COLUMNS)}"

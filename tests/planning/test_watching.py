"""What a recipe says of evaluation, checkpoints and trackers: read, and refused before anything is loaded."""

import pytest

from toolkit.errors import InvalidInput
from toolkit.planning.recipe import load_recipe

RECIPE = "recipes/embedded-qwen-lora.yaml"


def refusal(*overrides):
    with pytest.raises(InvalidInput) as caught:
        load_recipe(RECIPE, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("evaluate.metric=f2", "'f2' is not one of exact-match, contains, f1, json-valid, regex:PATTERN or FILE.py:FUNCTION"),
        ("evaluate.metric=exact_match", "did you mean 'exact-match'?"),
        ("evaluate.metric=regex:(", "is no regular expression"),
        ("evaluate.metric=regex:(a)(b)", "has several groups"),
        ("evaluate.metric=absent.py:score", "no such file: absent.py"),
        ("evaluate.metric=[f1, f1]", "two metrics give the score 'f1'"),
        ("evaluate.metrics=f1", "here it is called 'metric'"),
        ("evaluate.require.loss=lower", "must be a comparison with a number or the base"),
        ("evaluate.require.exact_mtach=>= 0.8", "is no score of this recipe; it has loss, perplexity, exact_match; did you mean 'exact_match'?"),
        ("evaluate.every=2", "must be at most 1"),
        ("evaluate.task_limit=5", "limits evaluate.tasks, and there are none"),
        ("train.save.every=500", "must be a share of the steps such as 0.25, or a time such as 10min, not 500"),
        ("train.save.every=0min", "must be a share of the steps"),
        ("train.save_steps=500", "here it is called 'save.every'"),
        ("track=[trackoi]", "'trackoi' is not one of trackio, tensorboard, mlflow, wandb; did you mean 'trackio'?"),
        ("track.wandb.mode=onlin", "'onlin' is not one of offline, online"),
        ("report_to=wandb", "here it is called 'track'"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_with_what_was_meant(override, words):
    assert words in refusal(override)


def test_documents_are_asked_nothing_so_no_answer_can_be_required():
    with pytest.raises(InvalidInput, match="exact_match: is no score of this recipe; it has loss, perplexity"):
        load_recipe("recipes/embedded-pretrain.yaml", ("evaluate.require.exact_match=>= 0.1",))


def test_nothing_can_be_required_where_nothing_is_measured():
    assert "nothing is evaluated" in refusal("evaluate.fraction=0", "evaluate.require.loss=< base")
    assert "no held-out row to measure" in refusal("evaluate.fraction=0", "evaluate.every=0.5")
    assert "asks for none" in refusal("evaluate.generate=0", "evaluate.metric=f1")
    assert "is no score of this recipe" in refusal("evaluate.generate=0", "evaluate.require.exact_match=> base")


def test_a_score_of_a_task_is_known_only_once_it_has_run():
    recipe = load_recipe(RECIPE, ["evaluate.tasks=[arc_easy]", "evaluate.require.arc_easy/acc=>= base"])
    assert recipe.evaluate.require == {"arc_easy/acc": ">= base"}


def test_checkpoints_are_counted_in_steps_or_in_time():
    assert load_recipe(RECIPE, ["train.save.every=0.5"]).train.save.every == 0.5
    saved = load_recipe(RECIPE, ["train.save.every=10min", "train.save.keep=3"]).train.save
    assert (saved.every, saved.keep) == ("10min", 3)


def test_trackers_are_a_list_or_a_mapping_with_settings():
    assert load_recipe(RECIPE, ["track=[tensorboard, mlflow]"]).track == {"tensorboard": {}, "mlflow": {}}
    recipe = load_recipe(RECIPE, ["track.wandb.mode=online", "track.wandb.project=llama"])
    assert recipe.track == {"wandb": {"mode": "online", "project": "llama"}}
    assert recipe.to_json()["track"] == {"wandb": {"mode": "online", "project": "llama"}}

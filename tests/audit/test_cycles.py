"""Tables in which works descend from themselves, or from a very long line."""

import polars as pl
import pytest

from toolkit.audit.table.cycles import components
from toolkit.audit.table.judged import judge_table
from toolkit.licensing.judge import PLAINLY
from toolkit.licensing.library import library
from toolkit.licensing.use import IntendedUse

USE = IntendedUse(distribution="internal", commercial=True)


def judged(tmp_path, rows):
    path = tmp_path / "hub.parquet"
    frame = pl.DataFrame(rows, schema={"id": pl.String, "license": pl.String, "base_model": pl.List(pl.String)},
                         orient="row")  # fmt: skip
    frame.write_parquet(path)
    table = judge_table(path, USE, library(), PLAINLY, None, (), lambda _: None)
    return {result.id: result for result in table.results()}, table


def test_components_come_with_what_they_lead_to_first():
    edges = {1: [2], 2: [3, 9], 3: [1], 4: [1], 5: [5]}
    assert [sorted(component) for component in components(edges)] == [[1, 2, 3], [4], [5]]


def test_a_work_that_names_itself_has_a_base_that_is_not_found(tmp_path):
    results, _ = judged(tmp_path, [("acme/a", "mit", ["acme/a"])])
    assert "base-not-found" in {noted.id for noted in results["acme/a"].outcome.findings}
    assert results["acme/a"].outcome.verdict == "needs-review"


def test_every_licence_of_a_cycle_binds_all_of_it_and_what_descends_from_it(tmp_path):
    rows = [("acme/a", "mit", ["acme/b"]), ("acme/b", "llama3.1", ["acme/a"]), ("acme/c", "apache-2.0", ["acme/a"])]
    results, _ = judged(tmp_path, rows)
    for name in ("acme/a", "acme/b", "acme/c"):
        assert {"mit", "llama-3.1"} <= set(results[name].outcome.license_ids())
        assert results[name].outcome.verdict == "needs-review"
    assert results["acme/c"].roots == ("acme/a",)


@pytest.mark.parametrize("length", [40, 3000])
def test_a_licence_comes_down_a_line_of_any_length(tmp_path, length):
    rows = [("acme/m0", "mit", ["Qwen/Qwen2.5-3B"])]
    rows += [(f"acme/m{number}", "mit", [f"acme/m{number - 1}"]) for number in range(1, length)]
    results, table = judged(tmp_path, rows)
    last = results[f"acme/m{length - 1}"]
    assert last.outcome.license_ids() == ("mit", "qwen-research-2024")
    assert last.roots == ("Qwen/Qwen2.5-3B",)
    assert len(table.outcomes) < 10


def test_a_large_ring_is_answered_and_not_followed_for_ever(tmp_path):
    size = 300
    rows = [(f"acme/m{number}", "mit", [f"acme/m{(number + 1) % size}", f"acme/m{(number + 7) % size}"])
            for number in range(size)]  # fmt: skip
    rows[150] = ("acme/m150", "llama3.1", ["acme/m151"])
    results, _ = judged(tmp_path, rows)
    assert {result.outcome.verdict for result in results.values()} == {"needs-review"}
    assert {result.outcome.license_ids() for result in results.values()} == {("llama-3.1", "mit", "unknown")}


def test_merges_of_merges_share_what_they_have_in_common(tmp_path):
    rows = [("acme/m0", "mit", []), ("acme/m1", "apache-2.0", ["acme/m0"])]
    rows += [(f"acme/m{number}", "mit", [f"acme/m{number - 1}", f"acme/m{number - 2}"]) for number in range(2, 60)]
    results, table = judged(tmp_path, rows)  # one by one there are 2^40 ways up
    assert results["acme/m59"].outcome.license_ids() == ("apache-2.0", "mit")
    assert len(table.outcomes) < 10


def test_ids_are_found_whatever_their_case_and_a_repeated_id_is_told(tmp_path):
    rows = [("Acme/Base", "llama3.1", []), ("acme/base", "mit", []), ("acme/tuned", "mit", ["ACME/BASE"])]
    results, table = judged(tmp_path, rows)
    assert results["acme/tuned"].outcome.license_ids() == ("llama-3.1", "mit")
    assert table.repeated == 1

"""The report of what was read: every rule with its clause, and what is silent kept apart from what nobody read."""

import json

from click.testing import CliRunner

from toolkit.cli.main import tk
from toolkit.licensing.library import library


def test_every_licence_stands_in_the_report_and_every_rule_has_a_clause():
    entries = json.loads(CliRunner().invoke(tk, ["licenses", "report", "--format", "json"]).stdout)
    assert {entry["id"] for entry in entries} == set(library().ids)
    assert sum(entry["rules_without_clause"] for entry in entries) == 0
    assert len([entry for entry in entries if not entry["unread"]]) >= 85


def test_silent_and_not_read_are_told_apart():
    entries = {
        entry["id"]: entry
        for entry in json.loads(CliRunner().invoke(tk, ["licenses", "report", "--format", "json"]).stdout)
    }
    assert "patents" in entries["mit"]["silent"]
    assert entries["dbrx"]["not_read"] == ["acceptable-use"]
    assert entries["mnpl-0.1"]["unread"]
    assert entries["mnpl-0.1"]["rules"] == {"permission": 0, "prohibition": 0, "duty": 0, "note": 0}


def test_the_text_ends_with_totals_and_what_was_not_read():
    text = CliRunner().invoke(tk, ["licenses", "report"]).stdout
    assert "0 of them without a clause" in text
    assert "mnpl-0.1: not read." in text

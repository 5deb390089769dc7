"""One field says all about a setting: its option, its help, its check, its JSON, and where it counts."""

from dataclasses import dataclass

import click
import numpy as np
import pytest
from click.testing import CliRunner

from ganprune.cli.group import Folded
from ganprune.cli.options import setting_options
from ganprune.compare.contenders import SHARED
from ganprune.errors import UserError
from ganprune.evolution.coevolution import SCHEDULES
from ganprune.filters.space import ENCODINGS
from ganprune.pipeline.config import MAY_GROW
from ganprune.settings.evolve import PRESETS, EvolveSettings, make_settings
from ganprune.settings.fields import Settings, changed, flat, from_json, part, setting, settings_in


@dataclass(frozen=True)
class Islands(Settings):
    number: int = setting(1, "Populations per side.", option="islands", low=1, high=9, common=True, may_grow=True)
    topology: str = setting("ring", "Who sends to whom.", choices=("ring", "star"))
    rate: float | None = setting(None, "Share of migrants.", above=0)


@dataclass(frozen=True)
class Whole(Settings):
    islands: Islands = part(Islands(), "Islands")
    chatty: bool = setting(False, "Say more.")
    secret: int = setting(3)


def shown(*arguments):
    """What a command with the options of ``Whole`` says, and what it was given."""
    taken = {}

    @click.command(cls=Folded)
    @setting_options(Whole, "Machine")
    def command(**options):
        taken.update(options)

    result = CliRunner().invoke(command, arguments)
    return result.output, taken


def test_a_field_makes_the_option_and_its_help():
    common, _ = shown("--help")
    assert "Islands:" in common and "Populations per side.  [quick: 1]" in common and "--help-all" in common
    assert "--topology" not in common and "--chatty" not in common
    everything, _ = shown("--help-all")
    assert "Who sends to whom.  [quick: ring]" in everything and "--chatty / --no-chatty" in everything
    assert "secret" not in everything
    _, taken = shown("--islands", "4", "--no-chatty")
    assert taken == {"islands": 4, "topology": None, "rate": None, "chatty": False}


def test_a_command_may_have_defaults_of_its_own():
    taken = {}

    @click.command()
    @setting_options(Whole, "Machine", lambda each: each.kind == "int", defaults={"islands": 7})
    def command(**options):
        taken.update(options)

    assert CliRunner().invoke(command, []).exit_code == 0
    assert taken == {"islands": 7}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"islands": 0}, "islands: got 0; expected a whole number from 1 to 9. Correct --islands."),
        ({"islands": 2.5}, "islands: got 2.5; expected a whole number"),
        ({"islands": True}, "islands: got True; expected a whole number"),
        ({"topology": "rings"}, "topology: got rings; expected ring or star. Did you mean 'ring'?"),
        ({"rate": 0}, "rate: got 0; expected a number above 0"),
        ({"rate": float("nan")}, "rate: got nan"),
        ({"chatty": "yes"}, "chatty: got yes; expected true or false"),
        ({"chaty": True}, "option: got chaty; expected a setting of a run. Did you mean 'chatty'?"),
    ],
)
def test_a_field_checks_its_values(options, message):
    with pytest.raises(UserError) as caught:
        changed(Whole(), **options)
    assert message in str(caught.value)


def test_numbers_of_numpy_are_numbers():
    assert flat(changed(Whole(), islands=np.int64(3), rate=np.float64(0.5)))["rate"] == 0.5
    with pytest.raises(UserError, match="expected a whole number"):
        changed(Whole(), islands=np.float64(3))


def test_settings_come_back_from_json():
    settings = changed(Whole(), islands=3, rate=0.5, chatty=True)
    assert settings.to_json() == {
        "islands": {"number": 3, "topology": "ring", "rate": 0.5}, "chatty": True, "secret": 3
    }  # fmt: skip
    assert from_json(Whole, settings.to_json()) == settings
    for data, message in (({"chatty": True}, "missing: islands"), ({**settings.to_json(), "loud": 1}, "unknown: loud")):
        with pytest.raises(TypeError, match=message):
            from_json(Whole, data)


def test_a_setting_that_earlier_versions_had_not_may_be_missing_in_a_file():
    @dataclass(frozen=True)
    class Later(Settings):
        old: int = setting(1)
        new: float = setting(0.5, added=True)

    assert from_json(Later, {"old": 2}) == Later(2, 0.5) and from_json(Later, {"old": 2, "new": 0.1}) == Later(2, 0.1)
    with pytest.raises(TypeError, match="missing: old"):
        from_json(Later, {"new": 0.1})
    data = EvolveSettings().to_json()
    del data["finetune"]["average"]
    assert from_json(EvolveSettings, data) == EvolveSettings()


def test_files_of_before_a_setting_was_added_mean_its_default():
    saved = make_settings().to_json()
    assert saved["fitness"].pop("target") == "pytorch" and saved["fitness"].pop("target_threads") == 1
    assert from_json(EvolveSettings, saved) == make_settings()
    del saved["fitness"]["lam"]  # which was always there
    with pytest.raises(TypeError, match="missing: lam"):
        from_json(EvolveSettings, saved)


def test_a_setting_is_known_by_its_option_wherever_it_is_nested():
    assert flat(changed(Whole(), islands=2)) == {
        "islands": 2, "topology": "ring", "rate": None, "chatty": False, "secret": 3
    }  # fmt: skip
    names = [each.name for each in settings_in(EvolveSettings)]
    assert len(names) == len(set(names))
    assert {name for preset in PRESETS.values() for name in preset} <= set(names)


def test_what_may_grow_and_what_contenders_share_are_read_from_the_fields():
    assert MAY_GROW == ["generations", "max_evaluations", "max_seconds"]
    assert sorted(SHARED) == ["generations", "max_evaluations", "max_seconds", "seed"]


def test_choices_are_those_of_the_code_that_they_are_for():
    choices = {each.name: each.facts.choices for each in settings_in(EvolveSettings)}
    assert choices["encoding"] == tuple(ENCODINGS)
    assert choices["schedule"] == tuple(SCHEDULES)


def test_a_budget_of_ones_own_takes_the_place_of_the_presets():
    assert make_settings(max_macs=1e9).budget.target_ratio is None
    assert make_settings(max_macs=1e9, target_ratio=4).budget.target_ratio == 4
    with pytest.raises(UserError, match="preset: got fast; expected quick or large or paper"):
        make_settings("fast")

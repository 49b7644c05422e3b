from __future__ import annotations

from dataclasses import replace

import pytest

from volseg.view.keys import HELP, help_entries, help_text, press
from volseg.view.window_state import OPACITIES, VIEWS, Limits, WindowState

LIMITS = Limits((20, 30, 10), 3, ("soft tissue", "lung"), has_doubt=True)
STATE = WindowState(LIMITS, (10, 15, 5))


def after(*keys: str, state: WindowState = STATE) -> WindowState:
    for key in keys:
        state = press(state, key)
    return state


def test_arrows_move_the_chosen_plane_to_its_ends() -> None:
    assert after("Up").at == (10, 15, 6)
    assert after("2", "Down", "Down").at == (10, 13, 5)
    assert after("3", "Prior").at == (19, 15, 5)
    assert after("3", "Next", "Next").at == (0, 15, 5)


def test_a_slider_chooses_its_plane() -> None:
    moved = STATE.moved_to(0, 4)
    assert (moved.at, moved.plane) == ((4, 15, 5), 0)
    assert STATE.moved_to(1, 99).at == (10, 29, 5)


def test_slices_are_switched() -> None:
    assert after("s").slices == {0, 1}
    assert after("s", "s") == STATE
    assert after("1", "s", "S").slices == frozenset()
    assert after("S", "S").slices == {0, 1, 2}


def test_structures_are_switched_all_none_and_alone() -> None:
    assert STATE.switched(1).hidden == {1}
    assert STATE.switched(1).switched(1) == STATE
    assert STATE.switched(3) == STATE
    assert after("n").hidden == {0, 1, 2}
    assert after("n", "a") == STATE
    assert STATE.only(2).hidden == {0, 1}
    assert STATE.only(2).only(2) == STATE


def test_a_legend_that_does_not_fit_scrolls_to_its_end() -> None:
    assert STATE.scrolled(5, 2).first == 1
    assert STATE.scrolled(5, 2).scrolled(-3, 2).first == 0
    assert STATE.scrolled(5, 7).first == 0


def test_transparency_ends_at_both_ends() -> None:
    assert after("T") == STATE
    assert OPACITIES[after(*"ttttttt").opacity] == 0
    assert after("t", "t", "T").opacity == 1


def test_cut_changes_side_and_says_which() -> None:
    assert [after(*"c" * n).cut for n in range(4)] == [0, 1, -1, 0]
    assert "side S of the axial plane" in after("c").describe()
    assert "side P of the coronal plane" in after("c", "c", "2").describe()


def test_windows_follow_each_other_and_are_told_with_their_values() -> None:
    assert after("w").window == after("W").window == 1
    assert after("w", "w") == STATE
    assert after("w").describe((-1350.0, 150.0), "HU") == "window: lung, -1350 to 150 HU"


def test_doubt_is_off_at_first_and_switched() -> None:
    assert not STATE.unsure
    assert after("d").unsure
    assert after("d", "d") == STATE


def test_each_look_is_one_even_at_the_same_side() -> None:
    front = after("f")
    assert VIEWS[front.view][0] == "front"
    assert VIEWS[after("F").view][0] == "feet"
    reset = after("f", "r", "r")
    assert (reset.view, reset.looks) == (0, 3)


def test_caps_lock_does_not_make_keys_dead() -> None:
    assert after("V").volume
    assert after("N").hidden == {0, 1, 2}
    assert after("T") == STATE  # which has a meaning of its own
    assert after("x") == after("F5") == STATE


def test_keys_for_what_is_not_there_do_nothing_and_are_not_in_the_help() -> None:
    meshes_only = WindowState(Limits((5, 5, 5), 2), (2, 2, 2))
    assert after("v", "w", "s", "d", state=meshes_only) == meshes_only
    assert not {"v volume", "d doubt"} & {*help_entries(meshes_only.limits)}
    scan_only = WindowState(Limits((5, 5, 5), 0, ("all",)), (2, 2, 2))
    assert after("t", "n", "d", state=scan_only) == scan_only
    assert not {"t transparency", "d doubt"} & {*help_entries(scan_only.limits)}
    assert "v volume" in help_entries(scan_only.limits)
    assert "d doubt" in help_entries(LIMITS)


def test_no_key_has_two_meanings_and_each_is_explained() -> None:
    keys = [key for row in HELP for key in row.changes]
    assert len(keys) == len(set(keys))
    text = help_text(LIMITS)
    assert all(row.long in text for row in HELP)


@pytest.mark.parametrize("key", [key for row in HELP for key in row.changes])
def test_each_key_changes_something(key: str) -> None:
    busy = replace(STATE, plane=0, hidden=frozenset({1}), opacity=1)
    assert any(press(state, key) != state for state in (STATE, busy))

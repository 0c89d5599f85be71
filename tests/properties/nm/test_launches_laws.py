"""What holds of a container's launches, whatever is asked for and however they end."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hrm.nm.shepherd.launches import COMMIT, ENDS, PREPARES, REPLACE, RESTART, ROLL_BACK, RUNS, WAITS, Launches, Refused

RETRIES = st.none() | st.fixed_dictionaries(
    {
        "codes": st.none() | st.just([1, 2]),
        "max": st.integers(-1, 3),
        "interval_s": st.just(1.0),
        "validity_s": st.none() | st.just(5.0),
    }
)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("want"), st.sampled_from([REPLACE, RESTART, ROLL_BACK, COMMIT]), st.booleans(), st.booleans()
        ),
        st.tuples(st.just("end"), st.sampled_from([0, 1, 2, 3, 137, 143])),
        st.tuples(st.just("fetched"), st.booleans()),
        st.tuples(st.just("begin")),
    ),
    max_size=60,
)


def program(name: int, retry: dict[str, Any] | None) -> dict[str, Any]:
    return {"name": name, "retry": retry, "links": []}


@given(RETRIES, STEPS)
def test_what_follows_is_what_was_asked_for_or_ran_before_and_nothing_begins_beside_what_runs(
    retry: dict[str, Any] | None, steps: list[Any]
) -> None:
    lives = Launches(program(0, retry))
    #: By our own books: what runs, what can be gone back to, and what is wanted next.
    runs, before, wanted = 0, None, None
    names, now = 0, 0.0
    for step in steps:
        now += 1.0
        if step[0] == "want":
            _, kind, auto_commit, prepares = step
            possible = lives.phase == RUNS and (kind in (REPLACE, RESTART) or before is not None)
            names += 1
            told = (lives.phase, lives.number, list(lives.notes))
            try:
                ends = lives.want(kind, program=program(names, retry), auto_commit=auto_commit, prepares=prepares)
            except Refused:
                assert not possible
                assert told == (lives.phase, lives.number, lives.notes), "nothing has changed"
                continue
            assert possible
            assert ends == (kind != COMMIT)
            if kind == COMMIT:
                before = None
            else:
                wanted = {REPLACE: (names, None if auto_commit else runs), RESTART: (runs, before)}.get(
                    kind, (before, None)
                )
                assert lives.phase == (PREPARES if prepares else ENDS)
        elif step[0] == "fetched" and lives.phase == PREPARES:
            if step[1]:
                lives.prepared()
            else:
                lives.not_prepared("not there")
                wanted = None
        elif step[0] == "end" and lives.phase != WAITS:
            made_way = lives.phase == ENDS
            delay_s = lives.ended(step[1], now)
            if made_way:
                assert delay_s == 0.0
            elif delay_s is None:
                assert step[1] in (0, 137, 143) or wanted is not None or before is None
                return
            else:
                assert step[1] not in (0, 137, 143)
                # Tried again after its time, or rolled back at once.
                wanted = (runs, before) if delay_s else (before, None)
        elif step[0] == "begin" and lives.phase == WAITS:
            assert wanted is not None
            number = lives.number
            assert lives.begin()["name"] == wanted[0]
            (runs, before), wanted = wanted, None
            assert lives.number == number + 1
        assert lives.can_roll_back == (before is not None)


@given(st.integers(0, 5), st.lists(st.floats(0.0, 10.0), max_size=30))
def test_within_an_interval_no_more_retries_happen_than_the_policy_allows(most: int, pauses: list[float]) -> None:
    lives = Launches(program(0, {"codes": None, "max": most, "interval_s": 1.0, "validity_s": 20.0}))
    now, retried = 0.0, []
    for pause in pauses:
        now += pause
        if lives.ended(1, now) is None:
            assert len([at for at in retried if now - at <= 20.0]) >= most
            return
        retried.append(now)
        assert len([at for at in retried if now - at <= 20.0]) <= most
        lives.begin()

"""Whatever rounds find, what is out stays within its limit, and nobody goes or comes back for one round's sake."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hrm.doctor.expected.rounds import Rounds
from hrm.model.findings import Finding, Severity, Text
from hrm.rm.patients import Patients, Place

TEXT = Text("it is sick", "故障")
NODES = ("n1", "n2", "n3", "n4", "n5")
DEVICES = ("a", "b")
ROUNDS = st.builds(
    Rounds,
    sick=st.integers(1, 4),
    well=st.integers(1, 4),
    max_drained_part=st.sampled_from([0.1, 0.25, 0.5, 1.0]),
)
#: (node, what is sick of it) of one round: None is the node itself.
ROUND = st.tuples(st.sampled_from(NODES), st.sets(st.sampled_from([None, *DEVICES])))


def finding(code: str = "HRM-TEST-001") -> Finding:
    return Finding(code=code, check="test.it", severity=Severity.CRITICAL, title=TEXT, why=TEXT)


class Watched:
    """Patients, and all that is known of them from outside."""

    def __init__(self, rounds: Rounds) -> None:
        self.rounds = rounds
        self.patients = Patients(rounds)
        self.out: set[Place] = set()
        #: Of each place the last rounds: True where it was sick.
        self.history: dict[Place, list[bool]] = {}

    def hear(self, node_id: str, sick: set[str | None]) -> None:
        found = {device: [finding()] for device in sick}
        for device in (None, *DEVICES):
            self.history.setdefault(Place(node_id, device), []).append(device in sick)
        total = {"nodes": len(NODES), "devices": len(NODES) * len(DEVICES)}
        for decision in self.patients.hear(node_id, found, **total):
            assert decision.out == (decision.place not in self.out), "told what is so already"
            self.check(decision.place, decision.out)
            (self.out.add if decision.out else self.out.remove)(decision.place)

    def check(self, place: Place, out: bool) -> None:
        history = self.history[place]
        if out:
            assert len(history) == 1 or all(history[-self.rounds.sick :])
        else:
            assert not any(history[-self.rounds.well :])


@given(ROUNDS, st.lists(ROUND, max_size=60))
def test_what_goes_was_sick_long_enough_and_what_comes_back_was_well_long_enough(
    rounds: Rounds, heard: list[tuple[str, set[str | None]]]
) -> None:
    watched = Watched(rounds)

    for node_id, sick in heard:
        watched.hear(node_id, sick)
        of_nodes = sum(place.device_id is None for place in watched.out)
        assert of_nodes <= max(1, int(len(NODES) * rounds.max_drained_part))
        assert len(watched.out) - of_nodes <= max(1, int(len(NODES) * len(DEVICES) * rounds.max_drained_part))
        assert {place for place in watched.history if watched.patients.is_out(place)} == watched.out


@given(ROUNDS, st.lists(ROUND, max_size=60))
def test_when_all_has_been_well_for_long_nothing_is_out(
    rounds: Rounds, heard: list[tuple[str, set[str | None]]]
) -> None:
    watched = Watched(rounds)
    for node_id, sick in heard:
        watched.hear(node_id, sick)

    for _ in range(rounds.well):
        for node_id in NODES:
            watched.hear(node_id, set())

    assert watched.out == set()

"""Pictures made of figures."""

from __future__ import annotations

from xml.etree import ElementTree

from hrm.web.charts import Line, Part, bar, curves


def test_a_bar_shows_its_parts_in_their_proportion_and_marks_where_they_are() -> None:
    parts = [Part(1, "cpu", "used"), Part(1, "withheld", "kept")]
    svg = ElementTree.fromstring(bar(parts, 4, label="b", marks=[Part(3, "fair", "f")]))
    pieces = [(piece.get("x"), piece.get("width")) for piece in svg.iter("rect")]
    assert pieces == [("0.00%", "25.00%"), ("25.00%", "25.00%")]
    assert [line.get("x1") for line in svg.iter("line")] == ["75.00%"]


def test_a_bar_is_never_longer_than_the_whole() -> None:
    svg = ElementTree.fromstring(bar([Part(3, "cpu", ""), Part(3, "gpu", "")], 4, label="b"))
    assert sum(float(piece.get("width", "").rstrip("%")) for piece in svg.iter("rect")) == 100


def test_a_bar_of_nothing_is_empty() -> None:
    assert not list(ElementTree.fromstring(bar([Part(1, "cpu", "")], 0, label="b")).iter("rect"))


def test_what_is_drawn_is_escaped() -> None:
    assert "<script>" not in bar([Part(1, "cpu", "<script>")], 1, label='"><script>')


def test_curves_end_at_the_right_edge_and_leave_out_what_is_not_known() -> None:
    svg = ElementTree.fromstring(curves([Line([None, 0.0, 1.0], "cpu", "CPU")], label="c", points=5))
    assert next(svg.iter("polyline")).get("points") == "450.0,120.0 600.0,0.0"

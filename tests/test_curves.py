"""The chart is well-formed, holds every curve, and puts values where they belong."""

from xml.etree import ElementTree

import pytest

from gan.curves import HEIGHT, WIDTH, Line, _Axis, line_chart

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("log_y", [False, True])
def test_a_chart_is_one_svg_with_a_line_a_curve(log_y):
    falling = Line("KID <b>", [(0, 1.0), (10, 0.1), (20, 0.01)], [(0, 0.9, 1.1), (20, 0.009, 0.02)])
    chart = ElementTree.fromstring(line_chart("a & b", "images", "KID", [falling], log_y))
    assert chart.get("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
    (line,) = chart.iter(f"{SVG}polyline")
    heights = [float(point.split(",")[1]) for point in (line.get("points") or "").split()]
    assert heights == sorted(heights), "a falling curve goes down the page"
    assert len(heights) == 3
    if log_y:
        assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.2)
    assert len(list(chart.iter(f"{SVG}polygon"))) == 1
    assert {"a & b", "KID <b>", "images"} <= {t.text for t in chart.iter(f"{SVG}text")}


def test_an_empty_chart_is_still_a_chart():
    ElementTree.fromstring(line_chart("t", "x", "y", [Line("nothing", [])]))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 123456), (-3, 0.5), (5, 5)])
def test_ticks_are_few_and_inside(low, high):
    axis = _Axis(low, high, 0, 100, log=False)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 12
    assert all(axis.low - 1e-9 <= tick <= axis.high + 1e-9 for tick in ticks)

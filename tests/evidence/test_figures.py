import pytest
from matplotlib.figure import Figure

from synthbridge.evidence.figures import INK, STYLE, arm_looks, inline_svg, legend_below, write_png


@pytest.fixture
def draw():
    def draw_figure() -> Figure:
        figure = Figure(figsize=(3, 2), layout="constrained")
        panel = figure.subplots()
        panel.fill_between([0, 1, 2], [1, 2, 1], [2, 3, 3], color=INK)  # a path with an id
        panel.plot([0, 1, 2], [1, 3, 2], marker="o", color=INK)
        panel.set_title("a title", color=INK)
        return figure

    return draw_figure


def test_files_have_the_same_bytes(draw, tmp_path):
    for name in ("a", "b"):
        figure = draw()
        write_png(figure, tmp_path / f"{name}.png")
        (tmp_path / f"{name}.svg").write_text(inline_svg(figure, "digits", "a title"))
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_svg_takes_the_colour_of_the_page(draw):
    figure = draw()
    svg = inline_svg(figure, "digits", "a title")
    assert INK in STYLE.values()
    assert svg.startswith('<svg role="img" aria-label="a title"')
    assert "currentColor" in svg
    assert INK not in svg


@pytest.mark.parametrize("length", [5, 25, 45])
def test_a_legend_is_no_wider_than_its_figure(length):
    figure = Figure(figsize=(5, 3), layout="constrained")
    panel = figure.subplots()
    for number in range(4):
        panel.plot([0, 1], label=f"{number}".ljust(length, "x"))
    legend_below(figure, [panel])
    (legend,) = figure.legends
    figure.draw_without_rendering()
    assert legend.get_window_extent().width <= figure.bbox.width
    assert len(legend.get_texts()) == 4


def test_arms_keep_their_looks():
    arms = ["vanilla", "vanilla_equal_steps", "bridged", "mixed", "synthetic_only"]
    looks = arm_looks(arms)
    assert len({(look.colour, look.marker) for look in looks.values()}) == len(arms)
    assert looks == arm_looks(reversed(arms))
    many = arm_looks(f"arm{number}" for number in range(12))
    assert len({(look.colour, look.dashes) for look in many.values()}) == 12

"""A plot as SVG text that a page can hold: in the page's colours, with a label and a sentence.

Matplotlib draws it, and is imported here, in a second. Its text stays text.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from appliance.home import home

if TYPE_CHECKING:
    from markupsafe import Markup

# Each stands for a colour of style.html.j2, which a library cannot name. As they are here they are
# Okabe and Ito's, which are told apart by colour-blind people too.
INK = "#010203"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
BLUE, ORANGE, GREEN, PINK, GOLD, SKY = COLOURS
SIZE = (5.6, 3.3)  # inches: so narrow that 11 points can still be read on a telephone
_STYLE = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11, "text.color": INK,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "legend.fontsize": 10, "path.simplify": False,
    # Labels may be text from data, where a $ is a $; and no tick is written as 1e5.
    "text.parse_math": False, "axes.formatter.limits": (-6, 12), "axes.formatter.useoffset": False,
}  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """A plot that answers the question `title`; `said`: the answer in words, which stands under it
    and is read to who does not see it.
    """

    name: str
    title: str
    said: str
    svg: Markup


def chart(
    name: str,
    title: str,
    said: str,
    draw: Callable[[Any, Any], None],
    size: tuple[float, float] = SIZE,
) -> Chart:
    """`draw` is given Matplotlib's figure and axes. `name`: no two of a page are alike."""
    # Matplotlib keeps a list of the machine's fonts; what is ours goes where ours is.
    os.environ.setdefault("MPLCONFIGDIR", str(home() / "matplotlib"))
    import matplotlib
    from markupsafe import Markup
    from matplotlib.figure import Figure

    # The salt makes the names inside each plot its own, and the same at each writing.
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(color=INK, alpha=0.12)
        axes.set_axisbelow(True)
        draw(figure, axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return Chart(name, title, said, Markup(_for_a_page(file.getvalue(), name, title, said)))


def _for_a_page(text: str, name: str, title: str, said: str) -> str:
    """Without what belongs to a file of its own; named and described; in the page's colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    for number, colour in enumerate(COLOURS, 1):
        text = text.replace(colour, f"var(--c{number})")
    # The page's own font; sizes and places stay Matplotlib's.
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)[0]
    head = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} {height}" '
        f'xmlns="http://www.w3.org/2000/svg" class="plot" role="img" '
        f'aria-labelledby="plot-{name}-title plot-{name}-said">'
        f'<title id="plot-{name}-title">{escape(title)}</title>'
        f'<desc id="plot-{name}-said">{escape(said)}</desc>'
    )
    return head + text[text.index(">") + 1 :]

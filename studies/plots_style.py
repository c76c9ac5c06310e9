"""Colours and marks: one set for the charts, the page and both themes.

Every role differs in colour and in shape, so that it survives colour blindness and a grey
printer. The hues are those of Okabe and Ito (2008), darkened for white paper and lightened for
dark. The values of one palette differ from each other: the page changes theme by looking each
colour up in the other palette.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours by role, as CSS `#rrggbb` or `rgba()`."""

    paper: str
    veil: str
    ink: str
    muted: str
    grid: str
    zero: str
    winner: str
    front: str
    front_soft: str
    front_line: str
    band: str
    parent: str
    parent_soft: str
    base: str
    base_soft: str
    uniform: str
    uniform_soft: str
    winner_soft: str
    other: str
    other_soft: str
    random: str
    random_soft: str
    trial: str
    trial_line: str
    bar: str
    propose: str
    build: str
    score: str
    worst: str
    middle: str
    best: str


LIGHT = Palette(
    paper="#ffffff",
    veil="rgba(255,255,255,0.72)",
    ink="#1b2127",
    muted="#59636e",
    grid="#e9ebee",
    zero="#a3abb5",
    winner="#c8481a",
    front="#0b69a8",
    front_soft="rgba(11,105,168,0.35)",
    front_line="rgba(11,105,168,0.55)",
    band="rgba(11,105,168,0.16)",
    parent="#00785a",
    parent_soft="rgba(0,120,90,0.45)",
    base="#30363d",
    base_soft="rgba(48,54,61,0.45)",
    uniform="#a4478c",
    uniform_soft="rgba(164,71,140,0.45)",
    winner_soft="rgba(200,72,26,0.6)",
    other="#7a6a00",
    other_soft="rgba(122,106,0,0.45)",
    random="#8a4b08",
    random_soft="rgba(138,75,8,0.45)",
    trial="rgba(110,120,132,0.38)",
    trial_line="rgba(110,120,132,0.16)",
    bar="#5b7389",
    propose="#c9a227",
    build="#7c93a8",
    score="#3d5a73",
    worst="#cfe4f3",
    middle="#5aa0d0",
    best="#0a3f68",
)

DARK = Palette(
    paper="#15191e",
    veil="rgba(21,25,30,0.72)",
    ink="#e8eaed",
    muted="#a3adb8",
    grid="#2a3038",
    zero="#5d6772",
    winner="#ff8f57",
    front="#62b0ee",
    front_soft="rgba(98,176,238,0.4)",
    front_line="rgba(98,176,238,0.6)",
    band="rgba(98,176,238,0.22)",
    parent="#3fc79d",
    parent_soft="rgba(63,199,157,0.45)",
    base="#d5dae0",
    base_soft="rgba(213,218,224,0.45)",
    uniform="#e28fc8",
    uniform_soft="rgba(226,143,200,0.45)",
    winner_soft="rgba(255,143,87,0.65)",
    other="#d9c34a",
    other_soft="rgba(217,195,74,0.45)",
    random="#e5a668",
    random_soft="rgba(229,166,104,0.45)",
    trial="rgba(160,170,182,0.36)",
    trial_line="rgba(160,170,182,0.16)",
    bar="#8aa3ba",
    propose="#e0be4f",
    build="#6f8aa3",
    score="#a9c2d9",
    worst="#1d3f5c",
    middle="#3f86bd",
    best="#c5e3fb",
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A kind of point: plotly's symbol, its size in pixels, the palette's roles, its name."""

    symbol: str
    size: int
    role: str
    soft: str
    title: str


MARKS = {
    "infeasible": Mark("x-thin", 6, "trial", "trial_line", "breaks a constraint"),
    "dominated": Mark("circle", 6, "trial", "trial_line", "dominated trial"),
    "front": Mark("circle", 9, "front", "front_soft", "on the Pareto front"),
    "random": Mark("hexagon", 12, "random", "random_soft", "best of random search"),
    "other": Mark("cross", 11, "other", "other_soft", "other reference"),
    "base": Mark("square", 11, "base", "base_soft", "base"),
    "uniform": Mark("triangle-up", 13, "uniform", "uniform_soft", "uniform merge"),
    "parent": Mark("diamond", 13, "parent", "parent_soft", "parent"),
    "winner": Mark("star", 18, "winner", "winner_soft", "winner"),
}
"""In drawing order: what matters most is drawn last, on top."""


def swaps() -> dict[str, str]:
    """Each light colour to its dark counterpart: what the page applies when the theme changes."""
    return {getattr(LIGHT, f.name): getattr(DARK, f.name) for f in fields(Palette)}


def css_variables(palette: Palette) -> str:
    """The palette as CSS custom properties, so that page and charts cannot drift apart."""
    return "".join(
        f"--{f.name.replace('_', '-')}:{getattr(palette, f.name)};" for f in fields(Palette)
    )

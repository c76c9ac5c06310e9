"""The keys of a range, of a choice, and of a range of layers, with what they mean.

What reads ranges takes these keys and no others; the reference of the study file and its JSON
schema print them.
"""

from types import MappingProxyType

from merging.recipe_keys import Key, Keys

RANGE_KEYS: Keys = MappingProxyType(
    {
        "range": Key(
            "[low, high]", "From the smallest to the largest value, both included.", "[0.0, 1.0]"
        ),
        "log": Key(
            "true or false",
            "Drawn on a logarithmic scale; low is above 0. Not with `step`.",
            "true",
        ),
        "step": Key(
            "a number above 0", "Only every so many: it divides the range exactly.", "0.1"
        ),
        "start": Key(
            "a number, or one for each anchor or block",
            "Your own guess: the search tries it first.",
            "0.5",
        ),
        "anchors": Key(
            "a whole number, auto or layers",
            "Values along depth, interpolated: so many; one a layer (`layers`); or one at first "
            "and then 2, 3 and 5 (`auto`).",
            "3",
        ),
        "blocks": Key("a whole number", "One value for each of so many even runs of layers.", "4"),
    }
)
CHOICE_KEYS: Keys = MappingProxyType(
    {
        "choice": Key(
            "a list", "The values: numbers, true and false, names of methods.", "[ties, della]"
        ),
        "start": Key("one of them", "Your own guess: the search tries it first.", "ties"),
    }
)
LAYER_KEYS: Keys = MappingProxyType(
    {
        "range": Key("[low, high]", "Whole numbers of layers, both included.", "[12, 20]"),
        "step": Key("a whole number", "Only every so many.", "4"),
        "start": Key("a whole number", "Your own guess.", "16"),
        "choice": Key("a list", "Whole numbers, in the place of `range`.", "[12, 16, 20]"),
    }
)

"""The methods that decide element by element, without weights.

SCE: Wan et al., FuseChat, https://arxiv.org/abs/2408.07990. RAM: Reinforced Agent Merging,
https://arxiv.org/abs/2601.13572. NearSwap: by alchemonaut, on the card of QuartetAnemoi-70B. Arcee
Fusion: by Arcee AI. Passthrough takes tensors as they are: layer stacking is made of it.
"""

from .formula import Fusion, NearSwap, Numbers, Overlap, Scaled, Selected


def sce(numbers: Numbers) -> Selected:
    """Select where the experts vary most, calculate weights from energies, erase minorities."""
    return Selected(float(numbers.output["select_topk"]))


def ram(numbers: Numbers) -> Overlap:
    """Deltas of one expert alone are added as they are, shared ones are averaged."""
    return Overlap(float(numbers.output["epsilon"]), 0.0, 0.0)


def ramplus_tl(numbers: Numbers) -> Overlap:
    """As `ram`, with what is an expert's own raised by its ratio of shared to own elements."""
    output = numbers.output
    return Overlap(float(output["epsilon"]), float(output["r"]), float(output["alpha"]))


def nearswap(numbers: Numbers) -> NearSwap:
    """The other model where it is near the base, the base where it is far."""
    return NearSwap(float(numbers.output["t"]))


def arcee_fusion(numbers: Numbers) -> Fusion:
    """The other model where its difference matters most, the base elsewhere."""
    return Fusion()


def passthrough(numbers: Numbers) -> Scaled:
    """The one model, times its scale."""
    return Scaled(numbers.of(0, "scale"))

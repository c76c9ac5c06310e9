"""Memory that runs out while a block is scored; then a kill, and the search goes on."""

from fault_cases import Case
from fault_harms import MemoryShort
from fault_process import finish, start
from fault_rules import Broken, hold_ended


def memory_short(case: Case) -> int:
    """Fewer tokens at once from a block on: everything compared is scored again under them.

    So it ends as no undisturbed search does; the recipes are the same, since those before the
    first estimate of a sampler are, and every result that counts has the same settings.
    """
    after = case.chance.randrange(2, case.known.blocks // 2)
    short = MemoryShort(after, 256)
    command = case.command("--token-budget", 1024, harm=short)
    process = start(command)
    case.moment(process, command)
    process.kill()
    case.ended(finish(process), command, -9, 0)
    case.ends(case.command("--token-budget", 1024, harm=MemoryShort(0, 256)), 0)
    found = hold_ended(case.run)
    settings = {one["settings"] for one in found.candidates.values() if one["scores"] is not None}
    if settings != {found.meta["settings"]}:
        raise Broken(f"scores under {len(settings)} settings are compared")
    if found.meta["hardware"]["token_budget"] != 256:
        raise Broken(f"went on with {found.meta['hardware']}")
    return 0

"""Worker processes: killed, hanging, without memory, over a recipe that kills each; in company.

With several workers the trials depend on who is done first; what they are scored does not. So a
search is compared with the undisturbed one recipe by recipe, and with its own journal.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fault_cases import Case
from fault_harms import Harm, KilledInBlock, MemoryShort, Poisoned, Unharmed
from fault_process import Command, finish, lines, start, until
from fault_rules import Broken, hold_ended, read

TRIALS = 10
"""So few that nothing is left for gradients, which are no blocks."""
LEASE = 8


def worker_killed(case: Case) -> int:
    """A worker, or both, die of kill -9 at a moment: others take their places."""
    command = crew(case)
    process = start(command)
    for number in range(case.chance.choice((1, 1, 2))):
        wanted = case.chance.randrange(20) + 20 * number
        until(lambda wanted=wanted: len(lines(command.journal, "recorded")) >= wanted, process)
        until(lambda: bool(workers(command)), process)
        victim = case.chance.choice(workers(command)[-2:])
        kill(victim, signal.SIGKILL)
    case.ended(finish(process), command, 0)
    return judged(case, 2)


def worker_hangs(case: Case) -> int:
    """A worker is stopped in its tracks: its lease runs out, and another does its block."""
    command = crew(case, "--lease", LEASE)
    process = start(command)
    wanted = case.chance.randrange(4, 30)
    until(lambda: len(lines(command.journal, "recorded")) >= wanted, process)
    victim = case.chance.choice(workers(command)[-2:])
    kill(victim, signal.SIGSTOP)
    case.ended(finish(process), command, 0)
    if runs_still(victim):
        raise Broken("the worker that hung was left behind")
    return judged(case, 1)


def worker_out_of_memory(case: Case) -> int:
    """The kernel kills a worker in a block, or the device is full: fewer tokens from then on."""
    block = case.chance.randrange(12)
    if case.chance.random() < 0.5:
        harm: Harm = KilledInBlock(block, case.folder / "killed")
        case.ends(crew(case, worker_harm=harm), 0)
        return judged(case, 1)
    short = MemoryShort(block, 256)
    case.ends(crew(case, "--token-budget", 1024, worker_harm=short), 0)
    found = hold_ended(case.run)
    settings = {one["settings"] for one in found.candidates.values() if one["scores"] is not None}
    if settings != {found.meta["settings"]} or found.meta["hardware"]["token_budget"] != 256:
        raise Broken(f"settings {settings}, {found.meta['hardware']}")
    return 0


def poisonous(case: Case) -> int:
    """A recipe that kills every worker: tried twice, set aside with its reason.

    A warm start, which is the same in every search, or the uniform merge, a reference: that is
    scored by all workers together, and costs those that are at work on it when two have died.
    """
    name = case.chance.choice(("trial 0", "trial 1", "trial 2", "trial 3", "reference 3"))
    victim = read(case.known.run).candidates[name]["recipe_hash"]
    deaths = case.folder / "deaths"
    case.ends(crew(case, worker_harm=Poisoned(victim, deaths)), 0)
    found = hold_ended(case.run)
    poisoned = [one for one in found.candidates.values() if one["recipe_hash"] == victim]
    died = len(deaths.read_text())
    told = f"cost {died} workers" in str(poisoned)
    if {one["state"] for one in poisoned} != {"failed"} or not told:
        raise Broken(f"the poisonous recipe is {poisoned}")
    if died not in ((2, 3) if name.startswith("reference") else (2,)):
        raise Broken(f"{died} workers died of one recipe")
    ended = Counter(one["state"] for one in found.candidates.values())
    if ended["failed"] != len(poisoned) or len(found.candidates) != TRIALS + 4:
        raise Broken(f"it ended with {dict(ended)}")
    case.ends(crew(case, worker_harm=Poisoned(victim, deaths)), 0)
    if len(deaths.read_text()) != died:
        raise Broken("a resumed search tried the poisonous recipe again")
    return judged(case, 2)


def coordinator_killed(case: Case) -> int:
    """The coordinator dies with workers at work: they follow it, and the search goes on."""
    command = crew(case)
    process = start(command)
    wanted = case.chance.randrange(45)
    until(lambda: len(lines(command.journal, "recorded")) >= wanted, process)
    time.sleep(case.chance.uniform(0, 0.05))
    process.kill()
    case.ended(finish(process), command, -signal.SIGKILL, 0)
    gone(workers(command))
    case.ends(crew(case), 0)
    return judged(case, 2)


def interrupted(case: Case) -> int:
    """SIGTERM or Ctrl-C, once or twice, with workers at work."""
    command = crew(case)
    process = start(command)
    number = case.chance.choice((signal.SIGTERM, signal.SIGINT))
    wanted = case.chance.randrange(45)
    until(lambda: len(lines(command.journal, "recorded")) >= wanted, process)
    for _ in range(case.chance.choice((1, 2))):
        try:
            os.killpg(process.pid or 0, number)
        except ProcessLookupError:
            break
        time.sleep(case.chance.choice((0.0, 0.1)))
    case.ended(finish(process), command, 130, 0)
    gone(workers(command))
    case.ends(crew(case), 0)
    return judged(case, 2)


def crew(case: Case, *options: object, worker_harm: Harm | None = None) -> Command:
    """The next search of the run, by two workers."""
    command = case.command(
        "--executor", "process", "--workers", 2, "--trials", TRIALS, *options, own_workers=True
    )
    case.commands[-1] = replace(command, worker_harm=worker_harm or Unharmed())
    return case.commands[-1]


def judged(case: Case, faults: int) -> int:
    """What is held after faults of workers; the blocks that were done twice.

    Each is in the ledger once, counted once, with the same numbers as in any other search.
    """
    found, other = hold_ended(case.run), read(case.known.run)
    shared = found.results.keys() & other.results.keys()
    if len(shared) < 12 or any(found.results[key] != other.results[key] for key in shared):
        raise Broken(f"of {len(shared)} blocks known from elsewhere some have other numbers")
    trials = [one for name, one in found.candidates.items() if name.startswith("trial")]
    if len(trials) != TRIALS or len(found.logged) < TRIALS:
        raise Broken(f"{len(trials)} trials, {len(found.logged)} in the log, of {TRIALS}")
    told = [line for one in case.commands for line in lines(one.journal, "recorded")]
    counted: Counter[str] = Counter()
    for line in {tuple(line[1:]) for line in told}:
        counted[line[4]] += int(line[5])
    # Killed between the two, a coordinator has recorded a block that its journal does not tell.
    sizes = {line[4]: int(line[6]) for line in told}
    untold = found.results.keys() - {tuple(line[1:5]) for line in told}
    for name, one in found.candidates.items():
        more = sum(sizes.get(key[3], 0) for key in untold if key[0] == one["recipe_hash"])
        if not counted[name] <= one["items"] <= counted[name] + more:
            raise Broken(f"{name} counts {one['items']} items, {counted[name]} were recorded")
    scored = sum(len(lines(one.journal, "scored")) for one in case.commands)
    twice = scored - len({tuple(line[1:5]) for line in told})
    if twice > faults:
        raise Broken(f"{twice} blocks of work were repeated after {faults} workers were lost")
    return max(twice, 0)


def workers(command: Command) -> list[int]:
    """The process ids of all workers so far."""
    return [int(line[1]) for line in lines(command.journal, "worker")]


def kill(process: int, number: int) -> None:
    """Sends a signal to a worker that may be gone."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def gone(processes: list[int], patience: float = 10.0) -> None:
    """Waits until none of them runs: nothing works on for a coordinator that is dead."""
    deadline = time.monotonic() + patience
    while left := [one for one in processes if runs_still(one)]:
        if time.monotonic() > deadline:
            raise Broken(f"still running without their coordinator: {left}")
        time.sleep(0.01)


def runs_still(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


WORKER_KINDS: dict[str, Callable[[Case], int]] = {
    "worker killed": worker_killed,
    "worker hangs": worker_hangs,
    "worker out of memory": worker_out_of_memory,
    "poisonous recipe": poisonous,
    "coordinator of workers killed": coordinator_killed,
    "SIGTERM, Ctrl-C with workers": interrupted,
}
"""By their names in tables of figures."""


def serve(harm: Harm, file: Path, *arguments: Any) -> None:
    """What a worker process does here: keeps a journal, suffers a harm, and works."""
    from fault_process import keep_journal

    from search.process_workers import _serve

    keep_journal(file)("worker", os.getpid())
    harm.apply()
    _serve(*arguments)

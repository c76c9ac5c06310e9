"""Processes that start from several threads at once leave the caller's script as it was."""

import sys
import threading
import time

from search.processes import without_main


def test_the_callers_script_is_as_before_whoever_ends_first() -> None:
    main = vars(sys.modules["__main__"])
    before = {name: main.get(name) for name in ("__file__", "__spec__")}
    seen: list[object] = []

    def start(seconds: float) -> None:
        with without_main():
            seen.append(main["__file__"])
            time.sleep(seconds)
            seen.append(main["__file__"])

    threads = [threading.Thread(target=start, args=(one,)) for one in (0.02, 0.05, 0.03)]
    for one in threads:
        one.start()
        time.sleep(0.005)
    for one in threads:
        one.join()
    assert seen == [None] * 6
    assert before == {name: main.get(name) for name in before}

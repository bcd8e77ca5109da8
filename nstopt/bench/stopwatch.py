"""A script that runs one command and prints its wall-clock seconds, peak resident KiB and exit code.

Linux counts the memory of the process that started a command into the command's own peak (ru_maxrss). This script is
small whoever starts it, so it imports next to nothing.
"""

import os
import sys
import time


def main(command: list[str]) -> None:
    """Run the command with its output redirected to standard error."""
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status, usage = os.wait4(pid, 0)
    print(time.perf_counter() - start, usage.ru_maxrss, os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1:])

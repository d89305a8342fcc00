"""Kills orphans of a program's earlier run, then execs the program.

The supervisor runs it in the state folder: python -m stack.launch NAME
"""

import os
import sys
from pathlib import Path

from stack import orphans, programs
from stack.state import StateFolder, nobody


def main() -> None:
    state = StateFolder(Path.cwd())
    program = programs.read(state, sys.argv[1])
    orphans.reap(state, program.name)
    orphans.record(state, program.name, mark=program.mark)
    os.chdir(program.folder)
    os.nice(program.niceness)
    if program.as_nobody:
        become(nobody().pw_uid, nobody().pw_gid)
    elif program.uid:
        os.umask(programs.PRIVATE)
        become(program.uid, program.uid)
    os.execve(program.argv[0], program.argv, program.environment or os.environ)


def become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


if __name__ == "__main__":
    main()

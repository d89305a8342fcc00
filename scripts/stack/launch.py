"""Becomes one program of the stack, after ending what an earlier run of it left behind.

The supervisor calls it in the state folder: python -m stack.launch NAME
"""

import os
import sys
from pathlib import Path

from stack import leftovers, programs
from stack.state import State, nobody


def main() -> None:
    state = State(Path.cwd())
    program = programs.read(state, sys.argv[1])
    leftovers.reap(state, program.name)
    leftovers.record(state, program.name, mark=program.mark)
    os.chdir(program.folder)
    if program.as_nobody:
        user = nobody()
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    os.execve(program.argv[0], program.argv, program.environment or os.environ)


if __name__ == "__main__":
    main()

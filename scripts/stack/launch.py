"""Becomes one program of the stack, after ending what an earlier run of it left behind. The supervisor calls it."""

import os
import sys
from pathlib import Path

from stack import leftovers, programs
from stack.state import State, nobody


def main() -> None:
    state = State(Path(sys.argv[1]))
    program = programs.read(state, sys.argv[2])
    leftovers.reap(state, program.name)
    leftovers.record(state, program.name, mark=program.mark)
    os.chdir(program.folder)
    if program.as_nobody:
        user = nobody()
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    os.execve(program.argv[0], program.argv, os.environ | program.environment)


if __name__ == "__main__":
    main()

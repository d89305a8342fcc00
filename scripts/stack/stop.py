"""scripts/stop: end the stack of this state folder."""

import sys

from chassis import env
from stack import supervision
from stack.console import StackError, say
from stack.state import find_state


def main() -> None:
    try:
        env.load_dotenv()
        state = find_state()
    except (StackError, env.SettingError) as error:
        sys.exit(str(error))
    say("Stopped." if state.run.is_dir() and supervision.stop(state) else "Nothing was running.")


if __name__ == "__main__":
    main()

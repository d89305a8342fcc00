"""scripts/stop: stop the stack of this state folder."""

from chassis.ops import env
from stack import supervision
from stack.console import exit_on_error, say
from stack.state import find_state


def main() -> None:
    with exit_on_error("stop", env.SettingError):
        env.load_dotenv()
        state = find_state()
    say("Stopped." if state.run.is_dir() and supervision.stop(state) else "Nothing was running.")


if __name__ == "__main__":
    main()

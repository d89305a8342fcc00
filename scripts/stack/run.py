"""scripts/run: start the stack and keep it running until Ctrl-C, or in the background with --detach."""

import argparse
import errno
import fcntl
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chassis.ops import env
from chassis.ops.settings import admin_username, mail_domain, sender, sender_warning, throttle_rates
from stack import demo, orphans, postgres, settings, startup, supervision
from stack.console import StackError, say, step
from stack.doctor import RUNS_AS_ROOT, runs_as_root
from stack.ports import Ports, choose_ports, write_ports
from stack.state import StateFolder, find_state

DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    arguments = parse()
    env.hide_privileged()
    for number in END_SIGNALS:  # SIGINT too: shells start background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        run(detach=arguments.detach, with_demo=arguments.demo)
    except (StackError, env.SettingError) as error:
        sys.exit(f"scripts/run: {error}")
    except OSError as error:
        if error.errno not in DISK_IS_FULL:
            raise
        sys.exit(f"scripts/run: {error.filename or 'The state folder'} cannot be written: {error.strerror}.")
    except KeyboardInterrupt:
        say("\nStopped.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/run", description="Start the whole stack.")
    parser.add_argument(
        "--detach", action="store_true", help="return when everything is healthy; scripts/stop stops it"
    )
    parser.add_argument("--demo", action="store_true", help="load sample data and raise the limits to 600/min")
    return parser.parse_args()


def run(*, detach: bool, with_demo: bool) -> None:
    env.load_dotenv()
    state = find_state()
    state.create()
    with ExitStack() as running:
        with start_lock(state):
            running.callback(end, state)
            ports = prepare(state, with_demo=with_demo)
            supervisor = supervision.start(state)
            password_is_current = startup.bring_up(state, ports)
            if with_demo:
                load_demo(state, ports)
        banner(state, ports, admin_line(state, password_is_current), detached=detach, with_demo=with_demo)
        if detach:
            running.pop_all()
            return
        supervision.wait_until_ended(supervisor)
        say("Stopped by another process.")


def load_demo(state: StateFolder, ports: Ports) -> None:
    with step("Loading sample data"):
        password = settings.generated_password(state.demo_password)
        demo.load(ports.gateway_url, admin_password=settings.admin_password(state), password=password)


def end(state: StateFolder) -> None:
    """Stop the stack; ignore further signals, so that nothing is left behind."""
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    supervision.stop(state)
    orphans.end_children(seconds=supervision.STOP_SECONDS)
    orphans.reap_all(state)


@contextmanager
def start_lock(state: StateFolder) -> Iterator[None]:
    """Make sure that this stack is not running or starting; kill orphans of a killed one."""
    with (state.run / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError("This stack is already being started.") from error
        if supervision.find(state):
            address = state.address.read_text() if state.address.is_file() else "its address"
            raise StackError(f"This stack is already running at {address}; scripts/stop stops it.")
        orphans.reap_all(state)
        yield


def prepare(state: StateFolder, *, with_demo: bool) -> Ports:
    """Check the settings, then write the supervisor's files. Nothing runs yet."""
    ports = choose_ports()
    state.lifted_limits.touch() if with_demo else state.lifted_limits.unlink(missing_ok=True)
    environments = settings.for_services(state, ports)
    startup.check_settings(environments)
    if settings.needs_postgres():
        postgres.ensure_cluster(state, state.secrets()["POSTGRES_PASSWORD"])
    startup.write_programs(state, ports, environments)
    write_ports(state, ports)
    state.address.write_text(ports.public_url)
    return ports


def banner(state: StateFolder, ports: Ports, admin: str, *, detached: bool, with_demo: bool) -> None:
    say(f"""
TMService is up at {ports.public_url}

  admin     {admin}
  data      {state.folder}
  logs      {state.log}
  limits    {limits_in_force(state)}""")
    if warning := sender_warning(mail_domain(sender())):
        say(f"  mail      {warning}")
    if runs_as_root(state):
        say(f"  users     {RUNS_AS_ROOT}")
    if with_demo:
        say(f"  demo      {', '.join(demo.USERNAMES)}; the password of each is in {state.demo_password}")
    say(f"""
  Try       curl -s {ports.public_url}/token/ --json '{{"username": "{admin_username()}", "password": "..."}}'
  Stop      {"scripts/stop" if detached else "Ctrl-C"}
""")


def admin_line(state: StateFolder, password_is_current: bool) -> str:
    """Return where the admin password is, or that it was changed."""
    place = "ADMIN_PASSWORD" if env.raw_value("ADMIN_PASSWORD") else state.admin_password
    if password_is_current:
        return f"{admin_username()}; the password is in {place}"
    return f"{admin_username()}, or another admin (see scripts/doctor); the password is not the one in {place}"


def limits_in_force(state: StateFolder) -> str:
    lifted = {name.removeprefix("THROTTLE_").lower(): rate for name, rate in settings.limits(state).items()}
    rates = throttle_rates() | lifted
    admin, user, anon = (rates[scope] or "off" for scope in ("admin", "user", "anon"))
    why = ", raised by --demo" if state.lifted_limits.exists() else ""
    return (
        f"admins {admin}, users {user}, without a token {anon} for each address{why};\n"
        "            THROTTLE_ADMIN, THROTTLE_USER and THROTTLE_ANON in .env change them (also to off)"
    )


if __name__ == "__main__":
    main()

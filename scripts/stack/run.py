"""scripts/run: start the whole stack and keep it until Ctrl-C, or leave it running with --detach."""

import argparse
import errno
import fcntl
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from chassis.ops import env
from chassis.ops.settings import admin_username, mail_domain, sender, sender_warning, throttle_rates
from stack import demo, orphans, postgres, settings, startup, supervision
from stack.console import StackError, say, step
from stack.doctor import RUNS_AS_ROOT, runs_as_root
from stack.ports import Ports, choose_ports, write_ports
from stack.state import State, find_state

DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    arguments = parse()
    env.hide_privileged()
    for number in END_SIGNALS:  # SIGINT too: a shell starts what it puts in the background with SIGINT ignored
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
    parser.add_argument("--detach", action="store_true", help="return when all is healthy; scripts/stop ends it")
    parser.add_argument(
        "--demo", action="store_true", help="load believable sample data and lift the limits to 600/min"
    )
    return parser.parse_args()


def run(*, detach: bool, with_demo: bool) -> None:
    env.load_dotenv()
    state = find_state()
    state.make()
    with only_one_starts(state):
        try:
            ports = prepare(state, with_demo=with_demo)
            supervisor = supervision.start(state)
            startup.bring_up(state, ports)
            if with_demo:
                load_demo(state, ports)
        except BaseException:
            end(state)
            raise
    banner(state, ports, detached=detach, with_demo=with_demo)
    if not detach:
        try:
            supervision.wait_until_ended(supervisor)
            say("Stopped from elsewhere.")
        finally:
            end(state)


def load_demo(state: State, ports: Ports) -> None:
    with step("Loading sample data"):
        password = settings.made_up(state.demo_password)
        demo.load(ports.gateway_url, admin_password=settings.admin_password(state), password=password)


def end(state: State) -> None:
    """Stop the stack; another Ctrl-C must not leave half of it behind."""
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    supervision.stop(state)
    orphans.end_children(seconds=supervision.STOP_SECONDS)
    orphans.reap_all(state)


@contextmanager
def only_one_starts(state: State) -> Iterator[None]:
    """Refuse where this stack runs already or is just being started; end what a killed one left."""
    with (state.run / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError("This stack is being started already.") from error
        if supervision.find(state):
            address = state.address.read_text() if state.address.is_file() else "its address"
            raise StackError(f"This stack runs already at {address}; scripts/stop ends it.")
        orphans.reap_all(state)
        yield


def prepare(state: State, *, with_demo: bool) -> Ports:
    """Refuse what cannot work, then write all that the supervisor needs. Nothing runs yet."""
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


def banner(state: State, ports: Ports, *, detached: bool, with_demo: bool) -> None:
    admin = admin_username()
    say(f"""
TMService is up at {ports.public_url}

  admin     {admin_line(state, ports, admin)}
  data      {state.folder}
  logs      {state.log}
  limits    {limits_in_force(state)}""")
    if warning := sender_warning(mail_domain(sender())):
        say(f"  mail      {warning}")
    if runs_as_root(state):
        say(f"  users     {RUNS_AS_ROOT}")
    if with_demo:
        say(f"  demo      {', '.join(demo.PEOPLE)}; the password of each is in {state.demo_password}")
    say(f"""
  Try       curl -s {ports.public_url}/token/ --json '{{"username": "{admin}", "password": "..."}}'
  Stop      {"scripts/stop" if detached else "Ctrl-C"}
""")


def admin_line(state: State, ports: Ports, admin: str) -> str:
    """Say where the admin's password is, if it still opens the door: it may have been changed since."""
    given = env.raw_value("ADMIN_PASSWORD")
    if startup.password_opens(state, settings.for_services(state, ports)["user_service"]):
        return f"{admin}; the password is {'what ADMIN_PASSWORD says' if given else f'in {state.admin_password}'}"
    place = "ADMIN_PASSWORD" if given else state.admin_password
    return f"{admin}, or whoever scripts/doctor names; the password is not the one in {place}"


def limits_in_force(state: State) -> str:
    lifted = {name.removeprefix("THROTTLE_").lower(): rate for name, rate in settings.limits(state).items()}
    rates = throttle_rates() | lifted
    admin, user, anon = (rates[scope] or "off" for scope in ("admin", "user", "anon"))
    why = ", lifted by --demo" if state.lifted_limits.exists() else ""
    return (
        f"admins {admin}, users {user}, without a token {anon} for each address{why};\n"
        "            THROTTLE_ADMIN, THROTTLE_USER and THROTTLE_ANON in .env change them (also to off)"
    )


if __name__ == "__main__":
    main()

"""supervisord with three changes.

It polls its processes twenty times a second. The default of once a second restarts a killed process only after up to
two seconds, and stops processes slowly one after another.

It keeps the sockets of the web servers open while it runs: clients that connect during a restart wait instead of being
refused.

It survives a full disk and loses log lines instead of ending with an exception.
"""

import os
import signal
from contextlib import suppress

from supervisor import loggers, poller, process, socket_manager, supervisord

POLL_SECONDS = 0.05
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class FastPoller(poller.Poller):
    def poll(self, timeout: float) -> object:
        return super().poll(min(timeout, POLL_SECONDS))


class PersistentSocket(socket_manager.SocketManager):
    def _close(self) -> None:
        """Keep the socket open for the next process when the last one has ended."""


class TolerantHandler(loggers.RotatingFileHandler):
    def emit(self, record: object) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self) -> None:  # noqa: N802  # supervisor's name
        """Standard error is a file on the same disk, so there is nowhere to report it."""

    def doRollover(self) -> None:  # noqa: N802  # supervisor's name
        if 0 < self.maxBytes <= self.stream.tell():
            self.stream.flush()  # raises on a full disk and keeps this file: closing it would raise too
            super().doRollover()


def block_stop_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def unblock_stop_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def reset_signals() -> None:
    """Before exec, a child has supervisord's handlers, which would swallow a stop signal."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    unblock_stop_signals()


if __name__ == "__main__":
    poller.Poller = FastPoller
    process.SocketManager = PersistentSocket
    loggers.RotatingFileHandler = TolerantHandler
    os.register_at_fork(before=block_stop_signals, after_in_parent=unblock_stop_signals, after_in_child=reset_signals)
    supervisord.main()

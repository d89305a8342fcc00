"""supervisord, with three differences.

It looks after its processes twenty times a second: at its own pace of once, a killed one takes up to two seconds to be
noticed and begun again, and each that ends keeps the next from being ended.

It keeps the sockets of the web servers open as long as it lives: while one of them is restarted, who connects waits
for the next, where otherwise they would be refused.

It goes on while the disk is full, losing lines of its logs, where it would end with an exception.
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
        """Called when the last process that used it has ended: the next one uses it too."""


class TolerantHandler(loggers.RotatingFileHandler):
    def emit(self, record: object) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self) -> None:  # noqa: N802  # supervisor's name
        """There is nowhere to say it: standard error is a file on the same disk."""

    def doRollover(self) -> None:  # noqa: N802  # supervisor's name
        if 0 < self.maxBytes <= self.stream.tell():
            self.stream.flush()  # or raise, and go on with this file: closing it would raise too
            super().doRollover()


def block_stop_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def unblock_stop_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def reset_signals() -> None:
    """Until it becomes its program, a child has supervisord's handlers, which would swallow the signal to stop."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    unblock_stop_signals()


if __name__ == "__main__":
    poller.Poller = FastPoller
    process.SocketManager = PersistentSocket
    loggers.RotatingFileHandler = TolerantHandler
    os.register_at_fork(before=block_stop_signals, after_in_parent=unblock_stop_signals, after_in_child=reset_signals)
    supervisord.main()

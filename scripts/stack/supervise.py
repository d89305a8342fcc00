"""supervisord, with two differences.

It looks after its processes twenty times a second: at its own pace of once, a killed one takes up to two seconds to be
noticed and begun again, and each that ends keeps the next from being ended.

It keeps the sockets of the web servers open as long as it lives: while one of them is restarted, who connects waits
for the next, where otherwise they would be refused.
"""

import os
import signal

from supervisor import poller, process, socket_manager, supervisord

LOOK_SECONDS = 0.05
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class WatchfulPoller(poller.Poller):
    def poll(self, timeout: float) -> object:
        return super().poll(min(timeout, LOOK_SECONDS))


class HeldSocket(socket_manager.SocketManager):
    def _close(self) -> None:
        """Called when the last process that used it has ended: the next one uses it too."""


def hold_stop_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def release_stop_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def be_stoppable() -> None:
    """Until it becomes its program, a child has supervisord's handlers, which would swallow the signal to stop."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    release_stop_signals()


if __name__ == "__main__":
    poller.Poller = WatchfulPoller
    process.SocketManager = HeldSocket
    os.register_at_fork(before=hold_stop_signals, after_in_parent=release_stop_signals, after_in_child=be_stoppable)
    supervisord.main()

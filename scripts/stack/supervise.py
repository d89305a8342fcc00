"""supervisord, but looking after its processes five times a second: at its own pace of once, a killed one takes
up to two seconds to be noticed and begun again."""

from supervisor import poller, supervisord

LOOK_SECONDS = 0.2


class WatchfulPoller(poller.Poller):
    def poll(self, timeout: float) -> object:
        return super().poll(min(timeout, LOOK_SECONDS))


if __name__ == "__main__":
    poller.Poller = WatchfulPoller
    supervisord.main()

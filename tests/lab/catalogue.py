"""All faults in order, and the demands on the responses during each."""

from tests.lab import crash, database, flood, keys, locks, processes
from tests.lab.judge import Demands
from tests.lab.scene import behind_proxy, mailing
from tests.lab.trial import Fault

CROWD = 12  # far more than the services can serve at once: some requests must be rejected
NOTHING_FAILS = Demands(max_failed=0)

FAULTS = [
    Fault("database-restart", database.restart, Demands()),
    Fault("database-kill", database.kill, Demands()),
    Fault("database-silent", database.silent, Demands(max_seconds=8), around=behind_proxy, users=CROWD),
    Fault("database-slow", database.slow, Demands(), around=behind_proxy, users=CROWD),
    Fault("database-full", database.full, Demands(max_seconds=3)),
    Fault("database-failover", database.failover, NOTHING_FAILS),
    Fault("deadlock", locks.deadlock, NOTHING_FAILS),
    Fault("row-held", locks.row_held, NOTHING_FAILS),
    Fault("rolling-restart", processes.rolling_restart, NOTHING_FAILS, pause_seconds=0),
    Fault("web-kills", processes.kill_web, Demands(max_failed=10, may_cut_off=True, recovery_seconds=2)),
    Fault("crash", crash.crash, Demands(may_cut_off=True), around=mailing, pause_seconds=0.1),
    Fault("gateway-reload", processes.reload_gateway, NOTHING_FAILS),
    Fault("gateway-kill", processes.kill_gateway, Demands(may_cut_off=True, recovery_seconds=0.5)),
    Fault("key-rotation", keys.rotate, NOTHING_FAILS, refresh_seconds=1),
    Fault("flood", flood.flood, Demands(recovery_seconds=2)),
    Fault("log-full", processes.log_full, NOTHING_FAILS),
]
BY_NAME = {fault.name: fault for fault in FAULTS}

"""Concurrent work in threads, each with its own database connection."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from django.db import connection


def start_together(pool, calls):
    """Start these calls in threads of the pool at the same moment and return their futures."""
    barrier = Barrier(len(calls))

    def run(call):
        try:
            connect()
            barrier.wait(timeout=30)
            return call()
        finally:
            connection.close()

    return [pool.submit(run, call) for call in calls]


def connect():
    """Open this thread's connection. It waits long for locks, since the machine may be busy."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '60s'")


def together(number, work):
    """Run `work` in `number` threads at once and return the results."""
    with ThreadPoolExecutor(number) as pool:
        running = start_together(pool, [work] * number)
    return [each.result() for each in running]


def in_own_connection(work):
    return together(1, work)


def wait_for_lock_waiter():
    wait_until_waiting_for_a_lock(1)


def wait_until_waiting_for_a_lock(number):
    deadline = time.monotonic() + 30
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(query)
            if cursor.fetchone() == (number,):
                return
            time.sleep(0.002)
    raise AssertionError(f"{number} statements did not wait for a lock")

"""Concurrent work in threads, each with its own database connection."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from django.db import connection


def together(number, work):
    """Run `work` in `number` threads at once and return the results."""
    barrier = Barrier(number)

    def run():
        try:
            connection.ensure_connection()
            barrier.wait(timeout=30)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(number) as pool:
        running = [pool.submit(run) for _ in range(number)]
    return [each.result() for each in running]


def in_own_connection(work):
    return together(1, work)


def wait_for_lock_waiter():
    deadline = time.monotonic() + 30
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(query)
            if cursor.fetchone() == (1,):
                return
            time.sleep(0.002)
    raise AssertionError("no statement waited for the row")

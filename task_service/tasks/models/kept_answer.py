from chassis.api import idempotency


class KeptAnswer(idempotency.KeptAnswer):
    """The answer to a keyed request that created a task."""

from chassis.api import idempotency


class KeptAnswer(idempotency.KeptAnswer):
    pass

from chassis import idempotency


class KeptAnswer(idempotency.KeptAnswer):
    pass

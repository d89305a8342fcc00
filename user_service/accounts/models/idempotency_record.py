from chassis.api import idempotency


class IdempotencyRecord(idempotency.IdempotencyRecord):
    class Meta(idempotency.IdempotencyRecord.Meta):
        db_table = "accounts_keptanswer"  # the previous version uses this name

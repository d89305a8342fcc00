"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a repeated POST is not executed again.

The response is stored in the transaction of the change, so either both exist or neither.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.db import OperationalError, connection, models, transaction
from django.db.models import Q
from django.http import HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from psycopg2.errors import LockNotAvailable
from rest_framework.exceptions import APIException, ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import is_success

from chassis.api.problems import Conflict
from chassis.api.strict_json import StrictJSONRenderer

if TYPE_CHECKING:  # models import this module, and DRF's views import models through its settings
    from chassis.api.views import Endpoint

HEADER = "Idempotency-Key"
KEY = re.compile("[!-~]{1,255}")
STORED_HEADERS = ("Location", "ETag")
RETENTION = timedelta(hours=24)
MAX_WAIT_SECONDS = 1  # a concurrent duplicate occupies a web worker while it waits
DELETE_BATCH_SIZE = 1000
# Waits for a concurrent duplicate. Returns no row if there is a response of the last 24 hours, but locks its row for
# reading.
CLAIM = """
    INSERT INTO "{table}" AS record (caller_id, method, path, key, fingerprint, created_at)
    VALUES (%(caller_id)s, %(method)s, %(path)s, %(key)s, %(fingerprint)s, %(now)s)
    ON CONFLICT (caller_id, method, path, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, created_at = excluded.created_at
    WHERE record.created_at <= %(expired_at)s
    RETURNING record.*
"""


class KeyInUse(Conflict):
    default_detail = "The first request with this Idempotency-Key is still running; try again shortly."
    default_code = "idempotency_key_in_use"
    wait = MAX_WAIT_SECONDS


class KeyReused(APIException):
    status_code = 422
    default_detail = "This Idempotency-Key was used with a different body; use a new key for a new request."
    default_code = "idempotency_key_reused"


Row = TypeVar("Row", bound="IdempotencyRecord")


class IdempotencyRecordQuerySet(models.QuerySet[Row]):
    def claim(self, *, fingerprint: str, **identity: Any) -> tuple[Row, bool]:
        """Return the record of a key and whether this request claimed it, or raise KeyInUse.

        Call it in a transaction: a rollback releases the claim.
        """
        now = timezone.now()
        values = {**identity, "fingerprint": fingerprint, "now": now, "expired_at": now - RETENTION}
        with short_wait():
            claimed = list(self.raw(CLAIM.format(table=self.model._meta.db_table), values))
        return (claimed[0], True) if claimed else (self.get(**identity), False)

    def delete_expired(self) -> None:
        expired = self.filter(created_at__lte=timezone.now() - RETENTION)
        while ids := list(expired.values_list("pk", flat=True)[:DELETE_BATCH_SIZE]):
            expired.filter(pk__in=ids).delete()  # `expired` again: a key may have been claimed since


class IdempotencyRecord(models.Model):
    """The stored response to a keyed request; without one, the uncommitted claim of a running request."""

    id = models.BigAutoField(primary_key=True)
    caller_id = models.BigIntegerField()
    method = models.CharField(max_length=7)
    path = models.TextField()
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(null=True)
    body = models.BinaryField(null=True)

    objects: ClassVar[Any] = IdempotencyRecordQuerySet.as_manager()

    class Meta:
        abstract = True
        # The database still uses an earlier name of this model.
        constraints = [
            models.UniqueConstraint(fields=["caller_id", "method", "path", "key"], name="keptanswer_key_is_taken"),
            models.CheckConstraint(condition=Q(status__range=(200, 299)), name="keptanswer_is_of_a_success"),
        ]
        indexes = [models.Index(fields=["created_at"], name="keptanswer_created_at")]

    def __str__(self) -> str:
        return f"{self.status} to {self.method} {self.path} of user {self.caller_id}"

    def store(self, response: Response) -> HttpResponse:
        """Store a successful response and return it as replays will return it; return any other response unchanged."""
        if not is_success(response.status_code):
            self.delete()
            return response
        self.status = response.status_code
        self.headers = {name: response.headers[name] for name in STORED_HEADERS if name in response.headers}
        self.body = StrictJSONRenderer().render(response.data)
        self.save(update_fields=["status", "headers", "body"])
        return self.response()

    def replay(self, fingerprint: str) -> HttpResponse:
        if self.fingerprint != fingerprint:
            raise KeyReused()
        return self.response()

    def response(self) -> HttpResponse:
        return HttpResponse(
            self.body, status=self.status, headers=self.headers, content_type=StrictJSONRenderer.media_type
        )


def idempotent(records: type[IdempotencyRecord]) -> Callable[[Callable[..., Response]], Callable[..., HttpResponse]]:
    """Replay the stored response to a request that repeats an Idempotency-Key with the same body.

    Only STORED_HEADERS are stored with the body; the view has to set them itself. With a key, the view runs in a
    transaction that its errors roll back. Do not use it on routes that allow anonymous callers.
    """

    def decorate(view_method: Callable[..., Response]) -> Callable[..., HttpResponse]:
        @wraps(view_method)
        def keyed(view: "Endpoint", request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
            if HEADER not in request.headers:
                return view_method(view, request, *args, **kwargs)
            identity, sent = request_identity(view), fingerprint(view.body)
            with transaction.atomic():
                record, is_claimed = records.objects.claim(fingerprint=sent, **identity)
                if not is_claimed:
                    return record.replay(sent)
                return record.store(view_method(view, request, *args, **kwargs))

        return keyed

    return decorate


def request_identity(view: "Endpoint") -> dict[str, Any]:
    """Return the columns that identify a record. The path ends in a slash: see OptionalSlashMiddleware."""
    request = view.request
    key = request.headers[HEADER]
    if not KEY.fullmatch(key):
        raise ValidationError({HEADER: [ErrorDetail("Must be 1 to 255 visible ASCII characters.", code="invalid")]})
    return {"caller_id": view.caller.id, "method": request.method, "path": request.path_info, "key": key}


def fingerprint(body: Any) -> str:
    """Hash the parsed body with a secret key: a plain hash would allow guessing a password in it."""
    canonical = json.dumps(body, sort_keys=True)
    return salted_hmac("chassis.api.idempotency", canonical, algorithm="sha256").hexdigest()


@contextmanager
def short_wait() -> Iterator[None]:
    """Raise KeyInUse if a statement in the block waits longer than MAX_WAIT_SECONDS. Requires a transaction."""
    with connection.cursor() as cursor:
        limit = f"{MAX_WAIT_SECONDS}s"
        cursor.execute("SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, true)", [limit])
        usual_limit, _ = cursor.fetchone()
        try:
            yield
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable):
                raise KeyInUse() from error
            raise
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [usual_limit])

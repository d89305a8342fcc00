"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a POST that is sent once more is not done once more.

The answer is kept in the transaction of what it tells of, so that both are there or neither.
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

if TYPE_CHECKING:  # models import this module, and the views of DRF import models by way of its settings
    from chassis.api.views import Endpoint

HEADER = "Idempotency-Key"
KEY = re.compile("[!-~]{1,255}")
KEPT_HEADERS = ("Location", "ETag")
KEPT_FOR = timedelta(hours=24)
MAX_WAIT_SECONDS = 1  # a twin occupies a web worker while it waits
FORGOTTEN_AT_ONCE = 1000
# It waits for a twin that is still running. No row comes back where an answer of the last 24 hours stands, but that
# row is locked, so that it can be read.
CLAIM = """
    INSERT INTO "{table}" AS kept (caller_id, method, path, key, fingerprint, created_at)
    VALUES (%(caller_id)s, %(method)s, %(path)s, %(key)s, %(fingerprint)s, %(now)s)
    ON CONFLICT (caller_id, method, path, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, created_at = excluded.created_at
    WHERE kept.created_at <= %(long_ago)s
    RETURNING kept.*
"""


class KeyInUse(Conflict):
    default_detail = "The first request with this Idempotency-Key is still running; try again shortly."
    default_code = "idempotency_key_in_use"
    wait = MAX_WAIT_SECONDS


class KeyReused(APIException):
    status_code = 422
    default_detail = "This Idempotency-Key came with another body before; a new request needs a new key."
    default_code = "idempotency_key_reused"


Row = TypeVar("Row", bound="KeptAnswer")


class KeptAnswerQuerySet(models.QuerySet[Row]):
    def claim(self, *, fingerprint: str, **place: Any) -> tuple[Row, bool]:
        """Return the row of a key and whether it is the caller's to fill, or raise KeyInUse.

        For use in a transaction: the claim lasts as long as that, or for good with the answer.
        """
        now = timezone.now()
        values = {**place, "fingerprint": fingerprint, "now": now, "long_ago": now - KEPT_FOR}
        with short_wait():
            claimed = list(self.raw(CLAIM.format(table=self.model._meta.db_table), values))
        return (claimed[0], True) if claimed else (self.get(**place), False)

    def forget_old(self) -> None:
        old = self.filter(created_at__lte=timezone.now() - KEPT_FOR)
        while ids := list(old.values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE]):
            old.filter(pk__in=ids).delete()  # `old` once more: a key may have been claimed anew meanwhile


class KeptAnswer(models.Model):
    """The answer to a keyed request, or the claim of a key by a request that is running, which no other ever sees."""

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

    objects: ClassVar[Any] = KeptAnswerQuerySet.as_manager()

    class Meta:
        abstract = True
        constraints = [
            models.UniqueConstraint(fields=["caller_id", "method", "path", "key"], name="%(class)s_key_is_taken"),
            models.CheckConstraint(condition=Q(status__range=(200, 299)), name="%(class)s_is_of_a_success"),
        ]
        indexes = [models.Index(fields=["created_at"], name="%(class)s_created_at")]

    def __str__(self) -> str:
        return f"{self.status} to {self.method} {self.path} of user {self.caller_id}"

    def keep(self, response: Response) -> HttpResponse:
        """Save an answer and return it as every replay will be; one that is no success is only returned."""
        if not is_success(response.status_code):
            self.delete()
            return response
        self.status = response.status_code
        self.headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        self.body = StrictJSONRenderer().render(response.data)
        self.save(update_fields=["status", "headers", "body"])
        return self.answer()

    def replay(self, fingerprint: str) -> HttpResponse:
        if self.fingerprint != fingerprint:
            raise KeyReused()
        return self.answer()

    def answer(self) -> HttpResponse:
        return HttpResponse(
            self.body, status=self.status, headers=self.headers, content_type=StrictJSONRenderer.media_type
        )


def idempotent(answers: type[KeptAnswer]) -> Callable[[Callable[..., Response]], Callable[..., HttpResponse]]:
    """Answer a request with the Idempotency-Key and body of an earlier one as that was answered.

    Of an answer the headers in KEPT_HEADERS are kept, and those have to be set by the view. With a key all that the
    view saves is one transaction, which an error that it raises rolls back. Not for routes that let anyone in.
    """

    def decorate(view_method: Callable[..., Response]) -> Callable[..., HttpResponse]:
        @wraps(view_method)
        def keyed(view: "Endpoint", request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
            if HEADER not in request.headers:
                return view_method(view, request, *args, **kwargs)
            place, seen = place_of(view), fingerprint(view.body)
            with transaction.atomic():
                kept, is_ours = answers.objects.claim(fingerprint=seen, **place)
                return kept.keep(view_method(view, request, *args, **kwargs)) if is_ours else kept.replay(seen)

        return keyed

    return decorate


def place_of(view: "Endpoint") -> dict[str, Any]:
    """Return what a key belongs to, and the key itself. The path has its slash: see OptionalSlashMiddleware."""
    request = view.request
    key = request.headers[HEADER]
    if not KEY.fullmatch(key):
        raise ValidationError({HEADER: [ErrorDetail("Must be 1 to 255 visible ASCII characters.", code="invalid")]})
    return {"caller_id": view.caller.id, "method": request.method, "path": request.path_info, "key": key}


def fingerprint(body: Any) -> str:
    """Hash what a body means, with a secret: it may hold a password, which is not to be guessed from the hash."""
    canonical = json.dumps(body, sort_keys=True)
    return salted_hmac("chassis.api.idempotency", canonical, algorithm="sha256").hexdigest()


@contextmanager
def short_wait() -> Iterator[None]:
    """Raise KeyInUse where a statement of this block, in a transaction, would have to wait long for another."""
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

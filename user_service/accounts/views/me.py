"""The caller's own account."""

from typing import Any

from django.db.models import QuerySet
from drf_yasg.utils import swagger_auto_schema
from rest_framework import status
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.examples import NEW_PASSWORD, PASSWORD
from accounts.models import Mail, Session, User
from accounts.openapi import GONE, MAILED, OWN, TAKEN, TOO_MANY_FAILURES
from accounts.serializers import OwnAccountSerializer, PasswordChangeSerializer, SessionSerializer
from accounts.views.conflicts import as_http_errors, as_password_errors
from accounts.views.entity_tags import check_if_match, lock_if_match, with_etag
from chassis.api import pagination
from chassis.api.problems import Conflict
from chassis.api.views import Endpoint
from chassis.auth.permissions import IsAuthenticated


class OwnEndpoint(Endpoint):
    tag = OWN
    permission_classes = [IsAuthenticated]

    def own_account(self) -> User:
        return get_object_or_404(User, pk=self.caller.id)


class Me(OwnEndpoint):
    serializer_class = OwnAccountSerializer
    if_match_methods = frozenset({"PATCH"})

    @swagger_auto_schema(
        operation_id="readOwnAccount",
        operation_summary="Read your own account",
        responses={200: "The account of the caller."} | GONE,
    )
    def get(self, request: Request) -> Response:
        return with_etag(self.get_serializer(self.own_account()).data)

    @swagger_auto_schema(
        operation_id="changeOwnAccount",
        operation_summary="Change your own username or email",
        operation_description="Needs the current password. A new username applies at once. A new email is pending "
        "until it is confirmed by the token in the email to it; the old address is notified.",
        responses={409: TAKEN, 429: TOO_MANY_FAILURES} | GONE,
        example={"username": "alice.smith", "current_password": PASSWORD},
    )
    def patch(self, request: Request) -> Response:
        user, data = self.own_account(), self.body
        check_if_match(self, user)  # before the body, whose read-only values may be outdated
        serializer = self.get_serializer(user, data=data, partial=True, context={"user": user})
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        with as_http_errors(), as_password_errors():
            # Outside the transaction, so that a rollback does not undo the count of a failed attempt.
            verified = user.verify_password(values["current_password"]) if user.login_changes(values) else None
            with lock_if_match(self, user):
                serializer.save(verified=verified)
        return with_etag(serializer.data)


class ResendConfirmation(OwnEndpoint):
    @swagger_auto_schema(
        operation_id="resendEmailConfirmation",
        operation_summary="Resend the email that asks to confirm an address",
        responses=MAILED | GONE | {409: "There is no address to confirm."},
    )
    def post(self, request: Request) -> Response:
        user = self.own_account()
        address = user.address_to_confirm()
        if address is None:
            raise Conflict("There is no address to confirm.")
        Mail.objects.plan_to(Mail.Kind.EMAIL_CONFIRMATION, user, address)
        return Response(status=status.HTTP_202_ACCEPTED)


class ChangePassword(OwnEndpoint):
    """The access token stays valid here until it expires; other services need a refreshed one."""

    serializer_class = PasswordChangeSerializer

    @swagger_auto_schema(
        operation_id="changeOwnPassword",
        operation_summary="Change your own password",
        operation_description="Ends every other session.",
        responses={204: "The password is changed.", 429: TOO_MANY_FAILURES} | GONE,
        example={"current_password": PASSWORD, "new_password": NEW_PASSWORD},
    )
    def post(self, request: Request) -> Response:
        user = self.own_account()
        serializer = self.get_serializer(data=self.body, context={"user": user})
        serializer.is_valid(raise_exception=True)
        current, new = serializer.validated_data["current_password"], serializer.validated_data["new_password"]
        with as_http_errors(), as_password_errors():
            user.change_password(current=current, new=new, keep_session=self.caller.session_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class OwnSessions(ListModelMixin, OwnEndpoint):
    serializer_class = SessionSerializer
    query_parameters = pagination.PARAMETERS
    ordering_fields = ["created_at", "id"]
    default_ordering = "-created_at"

    def get_queryset(self) -> QuerySet[Session]:
        return Session.objects.live().filter(user_id=self.caller.id)

    def get_serializer_context(self) -> dict[str, Any]:
        return {"session_id": self.caller.session_id}

    @swagger_auto_schema(operation_id="listOwnSessions", operation_summary="List your own sessions")
    def get(self, request: Request) -> Response:
        return self.list(request)


class OwnSession(OwnEndpoint):
    @swagger_auto_schema(
        operation_id="endOwnSession",
        operation_summary="End one of your own sessions",
        responses={204: "The session has ended."},
    )
    def delete(self, request: Request, session_id: int) -> Response:
        sessions = Session.objects.live().select_related("user")
        get_object_or_404(sessions, pk=session_id, user_id=self.caller.id).end(by=self.caller)
        return Response(status=status.HTTP_204_NO_CONTENT)

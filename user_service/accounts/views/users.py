"""Administration of accounts."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from drf_yasg.utils import swagger_auto_schema
from rest_framework import status
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.examples import PASSWORD
from accounts.filters import UserFilter
from accounts.models import IdempotencyRecord, User
from accounts.openapi import ACCOUNTS, LAST_ADMIN, TAKEN
from accounts.serializers import NewUserSerializer, RowIdOnlySerializer, RowIdSerializer, UserSerializer
from accounts.views.conflicts import as_http_errors
from accounts.views.entity_tags import lock_if_match, with_etag
from chassis.api import pagination
from chassis.api.fields import IdField
from chassis.api.idempotency import idempotent
from chassis.api.views import Endpoint
from chassis.auth.permissions import AdminWritesOnceVisible, IsAdmin, IsAuthenticated

NO_ACCOUNT = {404: "There is no account with this `id`."}
CONFLICTS = {409: f"{TAKEN} {LAST_ADMIN}"}
IN_BODY = "The same as `/user/users/{user_id}/`, with the `id` in the body."


class UserByIdSerializer(UserSerializer):
    """The documented schema of a change with the id in the body."""

    id = IdField(help_text="The id of the account.")


class AccountEndpoint(Endpoint):
    """PUT, PATCH and DELETE of one account, with the id in the path or the body."""

    tag = ACCOUNTS
    serializer_class = UserSerializer
    queryset = User.objects.all()

    def change(self, user: User, data: Any, *, partial: bool) -> Response:
        with as_http_errors(), lock_if_match(self, user):
            serializer = self.get_serializer(user, data=data, partial=partial)
            serializer.is_valid(raise_exception=True)
            if user.pk == self.caller.id:
                check_own_login(user, serializer.validated_data)
            serializer.save(by=self.caller)
        return with_etag(serializer.data)

    def remove(self, user: User) -> Response:
        with as_http_errors(), lock_if_match(self, user):
            user.remove(by=self.caller)
        return Response(status=status.HTTP_204_NO_CONTENT)


def check_own_login(user: User, values: Mapping[str, Any]) -> None:
    """Reject a change of the caller's own username or email, which needs the current password."""
    detail = ErrorDetail("Change your own at /user/me/ with your current password.", code="use_own_account")
    if changed := user.login_changes(values):
        raise ValidationError({name: [detail] for name in changed})


class UserList(ListModelMixin, AccountEndpoint):
    """All accounts, and changes of one account by an `id` in the body, as in the original API."""

    permission_classes = [IsAuthenticated & IsAdmin]
    filterset_class = UserFilter
    repeatable_parameters = frozenset({"role", "invitation"})
    query_parameters = pagination.PARAMETERS
    ordering_fields = ["date_joined", "username", "id"]
    default_ordering = "-date_joined"

    @swagger_auto_schema(operation_id="listUsers", operation_summary="List accounts")
    def get(self, request: Request) -> Response:
        return self.list(request)

    @swagger_auto_schema(
        operation_id="createUser",
        operation_summary="Create an account",
        operation_description="Without a `password`, the owner gets an email with an invitation to choose one.",
        request_body=NewUserSerializer,
        responses={201: "The new account.", 409: TAKEN},
        example={"username": "alice", "email": "alice@example.com", "role": "user", "password": PASSWORD},
    )
    @idempotent(IdempotencyRecord)
    def post(self, request: Request) -> Response:
        serializer = NewUserSerializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        with as_http_errors():
            user = User.objects.register(**serializer.validated_data, by=self.caller)
        return Response(self.get_serializer(user).data, status=status.HTTP_201_CREATED)

    @swagger_auto_schema(
        operation_id="replaceUserById",
        operation_summary="Replace an account that the body names",
        operation_description=IN_BODY,
        request_body=UserByIdSerializer,
        responses=NO_ACCOUNT | CONFLICTS,
        headers=["ETag"],
    )
    def put(self, request: Request) -> Response:
        return self.change(self.user_in_body(request), self.body, partial=False)

    @swagger_auto_schema(
        operation_id="changeUserById",
        operation_summary="Change an account that the body names",
        operation_description=IN_BODY,
        request_body=UserByIdSerializer,
        responses=NO_ACCOUNT | CONFLICTS,
        headers=["ETag"],
        example={"id": 2, "role": "admin"},
    )
    def patch(self, request: Request) -> Response:
        return self.change(self.user_in_body(request), self.body, partial=True)

    @swagger_auto_schema(
        operation_id="deleteUserById",
        operation_summary="Delete an account that the body names",
        operation_description=IN_BODY,
        request_body=RowIdOnlySerializer,
        responses=NO_ACCOUNT | {409: LAST_ADMIN},
        example={"id": 2},
    )
    def delete(self, request: Request) -> Response:
        return self.remove(self.user_in_body(request, RowIdOnlySerializer))

    def user_in_body(self, request: Request, serializer_class: type[RowIdSerializer] = RowIdSerializer) -> User:
        serializer = serializer_class(data=self.body)
        serializer.is_valid(raise_exception=True)
        return get_object_or_404(self.get_queryset(), pk=serializer.validated_data["id"])


class UserDetail(AccountEndpoint):
    """One account. Users can only read their own; any other is 404 for them."""

    permission_classes = [IsAuthenticated & AdminWritesOnceVisible]
    lookup_url_kwarg = "user_id"
    if_match_methods = frozenset({"PUT", "PATCH", "DELETE"})

    def get_queryset(self) -> QuerySet[User]:
        return User.objects.all() if self.caller.is_admin else User.objects.filter(pk=self.caller.id)

    @swagger_auto_schema(
        operation_id="readUser",
        operation_summary="Read an account",
        operation_description="Everyone may read their own account.",
    )
    def get(self, request: Request, user_id: int) -> Response:
        return with_etag(self.get_serializer(self.get_object()).data)

    @swagger_auto_schema(operation_id="replaceUser", operation_summary="Replace an account", responses=CONFLICTS)
    def put(self, request: Request, user_id: int) -> Response:
        return self.change(self.get_object(), self.body, partial=False)

    @swagger_auto_schema(
        operation_id="changeUser",
        operation_summary="Change an account",
        operation_description="Fields that are not sent stay unchanged. If an invitation is pending, a new email ends "
        "it and sends an invitation to the new address.",
        responses=CONFLICTS,
        example={"role": "admin"},
    )
    def patch(self, request: Request, user_id: int) -> Response:
        return self.change(self.get_object(), self.body, partial=True)

    @swagger_auto_schema(
        operation_id="deleteUser",
        operation_summary="Delete an account",
        operation_description="Its sessions end, and its tasks become unassigned.",
        responses={409: LAST_ADMIN},
    )
    def delete(self, request: Request, user_id: int) -> Response:
        return self.remove(self.get_object())

"""Setting a password without knowing the old one, by a token that was mailed."""

from rest_framework import status
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import AccountGone, Mail, PasswordToken, PasswordTokenInvalid, User
from accounts.serializers import ConfirmSerializer, EmailSerializer
from accounts.views.conflicts import as_http_errors
from chassis.api.views import Endpoint
from chassis.auth.permissions import IsAdmin, IsAuthenticated
from chassis.auth.signup import signup_budget


class RequestReset(Endpoint):
    """Answers the same, after the same work, whether anybody has the address: the worker looks that up."""

    authentication_classes = []
    permission_classes = [AllowAny]
    serializer_class = EmailSerializer

    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        with signup_budget(request):
            Mail.objects.plan(Mail.Kind.PASSWORD_RESET, serializer.validated_data["email"])
        return Response(status=status.HTTP_202_ACCEPTED)


class ConfirmReset(Endpoint):
    authentication_classes = []
    permission_classes = [AllowAny]
    serializer_class = ConfirmSerializer

    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        try:
            serializer.is_valid(raise_exception=True)  # a weak password does not use the token up
            PasswordToken.objects.use(
                serializer.validated_data["token"],
                user=serializer.validated_data["user"],
                password=serializer.validated_data["new_password"],
            )
        except (PasswordTokenInvalid, AccountGone) as error:
            detail = ErrorDetail("Is unknown, used or expired; ask for another.", code="token_invalid")
            raise ValidationError({"token": [detail]}) from error
        return Response(status=status.HTTP_204_NO_CONTENT)


class SendInvitation(Endpoint):
    """An admin has another invitation sent to somebody who has not accepted the first one."""

    permission_classes = [IsAuthenticated & IsAdmin]

    def post(self, request: Request, user_id: int) -> Response:
        with as_http_errors():
            get_object_or_404(User, pk=user_id).invite_again()
        return Response(status=status.HTTP_202_ACCEPTED)


class MailReset(Endpoint):
    """An admin has a reset mail sent to somebody."""

    permission_classes = [IsAuthenticated & IsAdmin]

    def post(self, request: Request, user_id: int) -> Response:
        user = get_object_or_404(User, pk=user_id)
        Mail.objects.plan(Mail.Kind.PASSWORD_RESET, user.email, by_admin=True)
        return Response(status=status.HTTP_202_ACCEPTED)

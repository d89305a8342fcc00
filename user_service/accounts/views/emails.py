from drf_yasg.utils import swagger_auto_schema
from rest_framework import status
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.examples import MAIL_TOKEN
from accounts.models import AccountGone, EmailToken, EmailTokenInvalid
from accounts.openapi import SIGNING_IN
from accounts.serializers import EmailTokenSerializer
from accounts.views.conflicts import as_http_errors
from chassis.api.views import Endpoint


class ConfirmEmail(Endpoint):
    tag = SIGNING_IN
    authentication_classes = []
    permission_classes = [AllowAny]
    serializer_class = EmailTokenSerializer

    @swagger_auto_schema(
        operation_id="confirmEmail",
        operation_summary="Confirm an email address by the token from an email",
        operation_description="Confirms the address of a new account, or replaces the address of an account with its "
        "pending address.",
        responses={204: "The address is confirmed.", 409: "Another account has taken this email."},
        example={"token": MAIL_TOKEN},
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        with as_http_errors():
            try:
                EmailToken.objects.redeem(serializer.validated_data["token"])
            except (EmailTokenInvalid, AccountGone) as error:
                detail = ErrorDetail("Is unknown, used or expired; ask for another.", code="token_invalid")
                raise ValidationError({"token": [detail]}) from error
        return Response(status=status.HTTP_204_NO_CONTENT)

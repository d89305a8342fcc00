"""The audit trail, for admins."""

from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.filters import AuditEventFilter
from accounts.models import AuditEvent
from accounts.serializers import AuditEventSerializer
from chassis.api import pagination
from chassis.api.views import Endpoint
from chassis.auth.permissions import IsAdmin, IsAuthenticated


class AuditTrail(ListModelMixin, Endpoint):
    permission_classes = [IsAuthenticated & IsAdmin]
    queryset = AuditEvent.objects.all()
    serializer_class = AuditEventSerializer
    filterset_class = AuditEventFilter
    repeatable_parameters = frozenset({"event"})
    query_parameters = pagination.PARAMETERS
    ordering_fields = ["at"]
    default_ordering = "-at"

    def get(self, request: Request) -> Response:
        return self.list(request)
